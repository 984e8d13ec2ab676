"""What happens in every row: before the fault, in it, and after it."""

from __future__ import annotations

from tests.faults import daemon_killed, etcd_restored, real_servers
from tests.faults.acting import DOES, RECOVERS, same, shows, tells
from tests.faults.daemon_page import Look, firing
from tests.faults.faults import FAULTS
from tests.faults.row import Row
from tests.faults.scene import Stage, a_scene

OWN = {
    "sidecar-killed": real_servers.sidecar_killed,
    "worker-killed": real_servers.workers_killed,
    "etcd-restored": etcd_restored.play,
    "daemon-killed": daemon_killed.play,
}


def play(stage: Stage, row: Row) -> None:
    """Play one row. Fails unless each cell is true."""
    OWN.get(row.key, play_usual)(stage, row)


def play_usual(stage: Stage, row: Row) -> None:
    """Play a row whose fault begins and ends while one daemon runs."""
    with a_scene(stage) as scene:
        scene.start()
        before = scene.steady()
        quiet = scene.passes(2, before)
        same(
            firing(stage.prometheus, Look(before, before, quiet)), set(), "alerts before the fault"
        )
        act = DOES[row.does]
        with FAULTS[row.key](scene):
            act.stress(scene)
            page = shows(scene, row, quiet)
            act.check(scene)
            tells(scene, row)
            last = scene.passes(2, page)
            same(firing(stage.prometheus, Look(quiet, page, last)), {*row.alerts}, "alerts")
        RECOVERS[row.recovers](scene)
        same("Traceback" in scene.log.read_text(), False, "a traceback in the log")
