"""CgroupReading a container's cgroup, version 1 and 2, from folders laid out like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.agent.cgroup import CgroupReading, locate

V2 = {
    "cgroup.controllers": "cpu memory",
    "memory.current": "104857600\n",
    "memory.stat": "anon 62914560\ninactive_file 20971520\nactive_file 1048576\n",
    "memory.max": "536870912\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\n",
    "cpu.stat": "usage_usec 2500000\nnr_periods 40\nnr_throttled 5\nthrottled_usec 750000\n",
}
V1 = {
    "memory/memory.usage_in_bytes": "104857600\n",
    "memory/memory.stat": "cache 5\ninactive_file 7\ntotal_inactive_file 20971520\n",
    "memory/memory.limit_in_bytes": "536870912\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "cpu/cpu.stat": "nr_periods 40\nnr_throttled 5\nthrottled_time 750000000\n",
}
V1_JOINED = {
    name.replace("cpuacct/", "cpu,cpuacct/").replace("cpu/", "cpu,cpuacct/"): text
    for name, text in V1.items()
}
ALL = {
    "memory_bytes": 104857600,
    "working_set_bytes": 83886080,  # 100 MiB used - 20 MiB that the kernel can drop
    "limit_bytes": 536870912,
    "oom_kills": 2,
    "cpu_seconds": 2.5,
    "throttled_seconds": 0.75,
    "throttled_periods": 5,
    "periods": 40,
}


def lay_out(root: Path, files: dict[str, str], below: str = "") -> Path:
    for name, text in files.items():
        controller, _, file = name.rpartition("/")
        path = root / controller / below / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def read(mount: Path, process: Path) -> CgroupReading:
    return locate(mount, process).read()


def values(reading: CgroupReading) -> dict[str, object]:
    return {name: getattr(reading, name) for name in ALL}


@pytest.mark.parametrize(
    "files", [V2, V1, V1_JOINED], ids=["v2", "v1", "v1, cpu and cpuacct joined"]
)
def test_every_value_is_read_in_bytes_and_seconds(tmp_path: Path, files: dict[str, str]) -> None:
    assert values(read(lay_out(tmp_path, files), tmp_path / "none")) == pytest.approx(ALL)


@pytest.mark.parametrize(
    ("files", "process"),
    [
        (V2, "0::/kubepods/pod1/app\n"),
        (
            V1,
            "4:memory:/kubepods/pod1/app\n3:cpu:/kubepods/pod1/app\n2:cpuacct:/kubepods/pod1/app\n",
        ),
    ],
    ids=["v2", "v1"],
)
def test_the_processs_own_cgroup_is_read_where_the_mount_shows_the_whole_tree(
    tmp_path: Path, files: dict[str, str], process: str
) -> None:
    lay_out(tmp_path, files, "kubepods/pod1/app")
    (tmp_path / "cgroup.controllers").write_text("") if files is V2 else None
    listing = tmp_path / "self"
    listing.write_text(process)
    assert values(read(tmp_path, listing)) == pytest.approx(ALL)


@pytest.mark.parametrize(
    ("files", "unlimited"),
    [
        (V2, {"memory.max": "max\n"}),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}),
    ],
    ids=["v2", "v1"],
)
def test_no_limit_is_none_and_not_a_number(
    tmp_path: Path, files: dict[str, str], unlimited: dict[str, str]
) -> None:
    reading = read(lay_out(tmp_path, {**files, **unlimited}), tmp_path / "none")
    assert reading.limit_bytes is None
    assert reading.working_set_bytes == 83886080


def test_what_the_kernel_does_not_offer_is_none_and_never_zero(tmp_path: Path) -> None:
    assert values(read(tmp_path, tmp_path / "none")) == dict.fromkeys(ALL)


def test_a_working_set_is_never_negative(tmp_path: Path) -> None:
    files = {**V2, "memory.current": "10\n"}
    assert read(lay_out(tmp_path, files), tmp_path / "none").working_set_bytes == 0


def test_the_key_tells_two_cgroups_apart_and_is_stable(tmp_path: Path) -> None:
    one, other = lay_out(tmp_path / "one", V2), lay_out(tmp_path / "other", V2)
    keys = [read(root, tmp_path / "none").key for root in (one, one, other)]
    assert keys[0] == keys[1] != keys[2]
