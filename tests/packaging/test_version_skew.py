"""Two versions at once, as in every upgrade: sidecars, agents, Leases, policies and journals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.core import checkpoint, membership
from autoscaler.model import Departing, Logged, Occupancy, Reason, Reset, Starts, State
from exporter.metrics import TABLE
from tests.builders import NOW, pod
from tests.deploy.pages import UPGRADE_PAGE
from tests.lab.bokeh_servers import APP, BIN, EXPORTER, QUICK, free_port, served, wait_until
from tests.lab.older_version import OLDER, OlderVersion
from tests.lab.websocket_user import Users
from tests.lab.wheels import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# The daemon of a version asks a sidecar, and prints what it understood.
ASK = """
import sys
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.model import PodState
pod = PodState("a", "a", ip="127.0.0.1")
print(*HttpSidecars(int(sys.argv[1])).occupancy([pod])["a"][:4])
"""
# The leader of a version goes on from what another one wrote into its Lease, and writes its own.
LEAD = """
import sys
from autoscaler.core.checkpoint import from_text, to_text
now = float(sys.argv[1])
print(to_text(from_text(sys.stdin.read(), now), now))
"""
JOIN = """
import sys
from autoscaler.core.membership import from_text, to_text
print(to_text(from_text(sys.stdin.read())))
"""
TABLE_OF = """
import json
from exporter.metrics import TABLE
print(json.dumps({spec.name: spec.labels for spec in TABLE}))
"""
BOTH = [("older", "ours"), ("ours", "older"), ("older", "older")]


def said(python: Sequence[str], script: str, *words: str, given: str = "") -> str:
    done = subprocess.run(
        [*python, "-c", script, *words], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("launcher", "sidecar"), BOTH, ids=[" and ".join(b) for b in BOTH])
def test_launcher_sidecar_and_daemon_count_the_same_whatever_their_versions(
    tmp_path: Path, older: OlderVersion, launcher: str, sidecar: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), *QUICK]
    command += ["--num-procs", "2"]
    programs = {"ours": EXPORTER, "older": older.program("bokeh-exporter")}
    started = served(
        tmp_path,
        command,
        port=port,
        options=("--reconnect", "1s"),
        launcher=programs[launcher],
        beside=programs[sidecar],
    )
    with started as server, Users() as users:
        server.wait_workers(2)
        there = [users.join(server.url) for _ in range(3)]
        wait_until(lambda: server.connected() == 3, "all three to be counted")
        asked = int(server.sidecar_url.rpartition(":")[2])

        seen = HttpSidecars(asked).occupancy([pod("a", ip="127.0.0.1")])["uid-a"]

        assert isinstance(seen, Occupancy)
        assert (seen.live, seen.empty_for) == (3, None)
        wait_until(lambda: said(older.python, ASK, str(asked)) == "3 0 0 0", "the older daemon")
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        for user in there:
            users.leave(user)
        assert server.exit_code() == 0


def test_the_exporter_still_has_every_series_of_the_older_one_with_its_labels(
    older: OlderVersion,
) -> None:
    theirs = json.loads(said(older.python, TABLE_OF))

    ours = {spec.name: set(spec.labels) for spec in TABLE}
    assert theirs
    assert {name: ours.get(name, set()) & set(labels) for name, labels in theirs.items()} == {
        name: set(labels) for name, labels in theirs.items()
    }


STATE = State(
    last_scale_up=NOW - 10,
    last_scale_down=NOW - 20,
    scale_ups=(Logged(2, NOW - 10),),
    scale_downs=(Logged(1, NOW - 20),),
    mismatch_at=NOW - 30,
    reset=Reset("replicas from 5 to 2 by argocd", NOW - 40),
    departing={"uid-1": Departing("pod-1", 0, NOW - 5, Reason.DRAINED)},
    starts=Starts(at_once=(12.0, 14.0), waited=(90.0,)),
)


def test_cooldowns_and_rate_limits_outlive_an_upgrade_and_the_way_back(
    older: OlderVersion,
) -> None:
    key = ("bokeh", "dashboards", "8f14e45f")
    ours = checkpoint.to_text({key: STATE}, NOW)

    theirs = said(older.python, LEAD, str(NOW), given=ours)

    # The older version does not know how long pods took to start: five pods have to show it again.
    assert "starts" in ours
    assert checkpoint.from_text(theirs, NOW)[key] == STATE._replace(starts=Starts())


def test_daemons_of_two_versions_know_each_other_in_the_list_that_divides_the_shards(
    older: OlderVersion,
) -> None:
    members = (membership.Member("first", 2, 7), membership.Member("second", 2, 1))

    theirs = said(older.python, JOIN, given=membership.to_text(members))

    assert membership.from_text(theirs) == members


def check(program: Sequence[str], policies: Path) -> tuple[int, str]:
    done = subprocess.run(
        [*program, "check", str(policies)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_this_version_takes_every_policy_that_the_older_one_ships(older: OlderVersion) -> None:
    code, told = check([sys.executable, "-m", "autoscaler.cli"], older.policies)

    assert code == 0, told
    assert len(told.splitlines()) == len([*older.policies.glob("*.yaml")])


def test_the_older_version_names_the_line_of_a_key_that_it_does_not_know(
    older: OlderVersion, tmp_path: Path
) -> None:
    text = (older.policies / "sessions.yaml").read_text()
    (tmp_path / "newer.yaml").write_text(f"{text.rstrip()}\npaused: true\n")

    code, told = check(older.program("autoscaler"), tmp_path)

    assert code != 0
    assert f"newer.yaml:{len(text.rstrip().splitlines()) + 1}: paused: " in told
    assert check([sys.executable, "-m", "autoscaler.cli"], tmp_path)[0] == 0


def test_the_page_names_the_older_version_and_only_tests_that_are_there() -> None:
    page = UPGRADE_PAGE.read_text()

    assert f"is the commit `{OLDER[:12]}`" in page
    places = re.findall(r"`(tests/[\w/.]+)`", page)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []
