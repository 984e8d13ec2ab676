"""Memory and CPU of a container, read from its cgroup of version 1 or 2.

Everything is read below two given paths, so tests can use folders of their own. A value that the
kernel does not provide is None, never 0. The working set is `usage - inactive_file`, the kubelet's
formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# v1 writes "no limit" as the largest page-aligned int64; no machine has 2^60 bytes (1 EiB).
UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class CgroupReading:
    """The values of a cgroup: bytes, seconds and counts; `key` is equal for all its processes."""

    key: str
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    limit_bytes: int | None = None
    oom_kills: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    throttled_periods: int | None = None
    periods: int | None = None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The folders of a process's cgroup, which do not change while it runs."""

    version: int
    memory: Path
    cpuacct: Path
    cpu: Path

    def read(self) -> CgroupReading:
        """Read the values, which takes 0.2 ms. Never raises; a missing value is None."""
        return _read_v2(self.memory) if self.version == 2 else _read_v1(self)


def locate(
    mount: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")
) -> Cgroup:
    """Return the cgroup of the process whose `cgroup` file is `process`, below `mount`."""
    paths = _paths(process)
    if (mount / "cgroup.controllers").exists():
        own = _folder(mount, paths.get("", "/"))
        return Cgroup(2, own, own, own)
    return Cgroup(
        1,
        _folder(mount / "memory", paths.get("memory", "/")),
        _folder(_v1_controller(mount, "cpuacct"), paths.get("cpuacct", "/")),
        _folder(_v1_controller(mount, "cpu"), paths.get("cpu", "/")),
    )


def _paths(process: Path) -> dict[str, str]:
    """Return the path below the mount by controller name, which is "" in version 2."""
    found: dict[str, str] = {}
    for line in _text(process).splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _v1_controller(mount: Path, name: str) -> Path:
    """Return a controller's mount; cpu and cpuacct may be mounted only as `cpu,cpuacct`."""
    return mount / name if (mount / name).exists() else mount / "cpu,cpuacct"


def _folder(mount: Path, path: str) -> Path:
    """Return the process's folder; in a container the mount itself often is that folder."""
    own = mount / path.lstrip("/")
    return own if own.is_dir() else mount


def _read_v2(folder: Path) -> CgroupReading:
    current = _number(folder / "memory.current")
    cpu = _table(folder / "cpu.stat")
    return CgroupReading(
        key=_key(folder),
        memory_bytes=current,
        working_set_bytes=_working_set(current, _table(folder / "memory.stat"), "inactive_file"),
        limit_bytes=_number(folder / "memory.max"),
        oom_kills=_table(folder / "memory.events").get("oom_kill"),
        cpu_seconds=_scaled(cpu.get("usage_usec"), 1e-6),
        throttled_seconds=_scaled(cpu.get("throttled_usec"), 1e-6),
        throttled_periods=cpu.get("nr_throttled"),
        periods=cpu.get("nr_periods"),
    )


def _read_v1(folders: Cgroup) -> CgroupReading:
    memory, stat = folders.memory, _table(folders.cpu / "cpu.stat")
    usage = _number(memory / "memory.usage_in_bytes")
    limit = _number(memory / "memory.limit_in_bytes")
    return CgroupReading(
        key=_key(memory),
        memory_bytes=usage,
        working_set_bytes=_working_set(
            usage, _table(memory / "memory.stat"), "total_inactive_file"
        ),
        limit_bytes=None if limit is None or limit >= UNLIMITED else limit,
        oom_kills=_table(memory / "memory.oom_control").get("oom_kill"),
        cpu_seconds=_scaled(_number(folders.cpuacct / "cpuacct.usage"), 1e-9),
        throttled_seconds=_scaled(stat.get("throttled_time"), 1e-9),
        throttled_periods=stat.get("nr_throttled"),
        periods=stat.get("nr_periods"),
    )


def _working_set(usage: int | None, stat: dict[str, int], inactive: str) -> int | None:
    if usage is None or inactive not in stat:
        return usage
    return max(0, usage - stat[inactive])


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _key(folder: Path) -> str:
    """Return a key that is equal for all processes of a cgroup, whatever mount they use."""
    try:
        status = folder.stat()
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _table(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
