"""etcd comes back with what it had before a scale-up. It has a control plane of its own."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from tests.faults.acting import RECOVERS, pauses, same, tells, users_come
from tests.faults.daemon_page import Look, firing
from tests.faults.row import Row
from tests.faults.scene import DECISIONS, PODS, WITHIN, Scene, Stage, a_scene
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until

# What is watched: Deployments, ReplicaSets, pods and HorizontalPodAutoscalers.
KINDS = 4


def play(stage: Stage, row: Row) -> None:
    """Play the row. Fails unless each cell is true."""
    folder = Path(tempfile.mkdtemp(dir=stage.folder))
    with ControlPlane(stage.plane.programs, folder) as plane:
        plane.node.network = "127.2"
        with a_scene(replace(stage, plane=plane)) as scene:
            scene.start()
            scene.steady()
            plane.keep_data(folder / "kept")
            users_come(scene)
            wait_until(lambda: scene.world.replicas() == PODS + 1, WITHIN, "the scale-up")
            plane.settle(scene.world.namespace, "bokeh-app", PODS + 1)

            lists = scene.api.count("list")

            plane.restore_data(folder / "kept")

            tells(scene, row)
            pauses(scene)
            RECOVERS[row.recovers](scene)
            same(scene.api.count("list") >= lists + KINDS, True, "everything is listed again")
            scene.until(f'{DECISIONS}{{reason="{row.reason}"}}', 2)
            page = scene.page()
            same(row.metric.holds(None, page.total(row.metric.series)), True, row.metric.series)
            scene.until(f'{DECISIONS}{{reason="DesiredWithinRange"}}', 2, page)
            wait_until(lambda: fires(stage, scene) == {*row.alerts}, WITHIN, "no other alert")
            same("Traceback" in scene.log.read_text(), False, "a traceback in the log")


def fires(stage: Stage, scene: Scene) -> set[str]:
    """Return the alerts that fire if the daemon goes on as it does now."""
    before = scene.page()
    return firing(stage.prometheus, Look(before, before, scene.passes(2, before)))
