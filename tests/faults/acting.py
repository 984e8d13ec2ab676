"""What the daemon does in a fault and after it, in words, each with the test of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.faults.daemon_page import Page
from tests.faults.row import Row
from tests.faults.scene import DECISIONS, FAILURES, HELD, PODS, USUAL, WITHIN, Scene
from tests.lab.processes import wait_until

FAILED = {"FailedGetScale", "FailedRescale", "NotLeader"}
# What tells of the scaling and not of the fault.
USUAL_EVENTS = {"SuccessfulRescale", "Cordoned", "Uncordoned", "SessionsStillOpen"}
# Passes in which a reason has to be there, so that it is no matter of a moment.
LASTING = 3


class Acts(NamedTuple):
    """stress: what the users do in the fault. check: fails unless the daemon did as is said."""

    stress: Callable[[Scene], None]
    check: Callable[[Scene], None]


def same(found: object, expected: object, what: str) -> None:
    """Fail with both if they differ."""
    if found != expected:
        raise AssertionError(f"{what}: {found}, expected {expected}")


def users_leave(scene: Scene) -> None:
    scene.users(1)


def users_come(scene: Scene) -> None:
    scene.users(*[USUAL + 1] * PODS)


def nobody_moves(_: Scene) -> None:
    """The users stay as they are."""


def nothing_changed(scene: Scene) -> None:
    same((scene.world.replicas(), scene.world.cordoned()), (PODS, 0), "replicas and cordons")


def grows(scene: Scene) -> None:
    wait_until(lambda: scene.world.replicas() == PODS + 1, WITHIN, "one more replica")


def cordons(scene: Scene) -> None:
    selector = 'bokeh_autoscaler_cordoned_pods{cause="scale-down"}'
    wait_until(lambda: scene.page().total(selector), WITHIN, "a pod to be cordoned")


def has_added_one(scene: Scene) -> None:
    same((scene.world.replicas(), scene.world.cordoned()), (PODS + 1, 0), "replicas and cordons")


def rests_then_cordons(scene: Scene) -> None:
    selector = f'{HELD}{{reason="ScaleDownStabilized"}}'
    before = scene.page().total(selector) or 0.0
    cordons(scene)
    if not (scene.page().total(selector) or 0.0) > before:
        raise AssertionError("it did not wait for the window")


def cordons_and_keeps(scene: Scene) -> None:
    cordons(scene)
    same(scene.world.replicas(), PODS, "replicas")


def deletes(scene: Scene) -> None:
    wait_until(lambda: scene.world.replicas() == 1, WITHIN, "the drained pods to be deleted")


def uncordons(scene: Scene) -> None:
    wait_until(lambda: scene.world.cordoned() == 0, WITHIN, "no pod to be cordoned")
    same(scene.world.replicas(), PODS, "replicas")


def changes(scene: Scene) -> int:
    """Return how often the daemon asked for another count."""
    asked = [each for each in scene.api.requests if each.path.endswith("/scale")]
    return len([each for each in asked if each.verb == "patch"])


def changes_once(scene: Scene) -> None:
    scene.says("waiting up to 10s: the API server did not confirm the last scale request")
    same((scene.world.replicas(), changes(scene)), (PODS + 1, 1), "replicas and changes")


def tries_again(scene: Scene) -> None:
    nothing_changed(scene)
    wait_until(lambda: changes(scene) > 1, WITHIN, "another attempt")


def pauses(scene: Scene) -> None:
    """Wait for it to say so. When the pause ends is asserted by the tests of the core."""
    scene.says("scale-downs are paused for 10m")


def settles(scene: Scene) -> None:
    before = scene.page()
    scene.until(f'{DECISIONS}{{reason="DesiredWithinRange"}}', 2, before)
    same(scene.world.replicas(), PODS + 1, "replicas")


def waits(scene: Scene) -> None:
    """The daemon still serves its pages, and there is nothing to scale."""
    scene.passes(1, scene.page())


def starts_afresh(scene: Scene) -> None:
    before = scene.page()
    scene.until(f'{DECISIONS}{{reason="DesiredWithinRange"}}', 2, before)


def keeps_the_others(scene: Scene) -> None:
    pauses(scene)
    same((scene.world.replicas(), scene.world.cordoned()), (PODS + 2, 0), "replicas, cordons")


def grows_beyond(scene: Scene) -> None:
    scene.users(*[USUAL + 4] * (PODS + 2))
    wait_until(lambda: scene.world.replicas() > PODS + 2, WITHIN, "more replicas")


def loads(scene: Scene) -> None:
    scene.says("valid again and loaded")
    wait_until(
        lambda: not scene.page().total("bokeh_autoscaler_policy_file_errors"), WITHIN, "no errors"
    )


def writes_after_restart(scene: Scene) -> None:
    scene.daemons[-1].terminate()
    scene.daemons[-1].join()
    size = scene.journal.stat().st_size
    scene.start()
    wait_until(lambda: scene.journal.stat().st_size > size, WITHIN, "the journal to grow")
    same(scene.page().total("bokeh_autoscaler_journal_writing"), 1.0, "journal_writing")


def follows_the_clock(scene: Scene) -> None:
    wait_until(
        lambda: abs(scene.page().total("bokeh_autoscaler_clock_offset_seconds") or 0.0) < 2.0,
        WITHIN,
        "no difference of the clocks",
    )
    users_leave(scene)
    cordons(scene)


DOES = {
    "keeps the replicas and cordons no pod": Acts(users_leave, nothing_changed),
    "cannot change the replicas, and tries again": Acts(users_come, tries_again),
    "keeps the replicas, and tries again after any wait that was asked for": Acts(
        users_come, tries_again
    ),
    "cannot change the replicas": Acts(users_come, nothing_changed),
    "adds a pod, for that one counts as full; cordons none": Acts(users_leave, has_added_one),
    "cordons pods, and deletes none": Acts(users_leave, cordons_and_keeps),
    "goes on scaling": Acts(users_come, grows),
    "lists everything again every 20 to 40 s, and goes on scaling": Acts(users_come, grows),
    "cordons pods, and deletes none that has sessions": Acts(nobody_moves, cordons_and_keeps),
    "the change has taken effect; it sends no other one for 10 s": Acts(users_come, changes_once),
    "has nothing to scale": Acts(nobody_moves, waits),
    "keeps the count that was set, for 10 minutes": Acts(users_leave, keeps_the_others),
}
RECOVERS = {
    "scales down after a full stabilization window of fresh data": rests_then_cordons,
    "scales down in the next passes": cordons,
    "the next pass makes the change": grows,
    "uncordons the pods": uncordons,
    "the next daemon goes on where it stopped, and ends no session": starts_afresh,
    "deletes the pods once their sidecars answer": deletes,
    "goes on from the new count": settles,
    "starts afresh with the new Deployment": starts_afresh,
    "scales up at once, if needed; down after 10 minutes": grows_beyond,
    "loads the file as soon as it is valid": loads,
    "restart the daemon: it continues the journal": writes_after_restart,
    "follows the clock, and scales as before": follows_the_clock,
}


def counted(reason: str) -> str:
    """Return the series that counts the passes with a reason."""
    return FAILURES if reason in FAILED else f'{DECISIONS}{{reason="{reason}"}}'


def shows(scene: Scene, row: Row, before: Page) -> Page:
    """Wait until the reason has lasted; then the metric must be there. Returns the page."""
    scene.until(counted(row.reason), LASTING, before)

    def is_shown() -> Page | None:
        page = scene.page()
        first, now = (p.total(row.metric.series) for p in (before, page))
        return page if row.metric.holds(first, now) else None

    page = wait_until(is_shown, WITHIN, f"{row.metric.series}: {row.metric.how}")
    assert page is not None
    if row.reason == "NotLeader":
        leader = "bokeh_autoscaler_leader"
        wait_until(lambda: scene.page().total(leader) == 0, WITHIN, f"{leader} to be 0")
        return scene.page()
    return page


def tells(scene: Scene, row: Row) -> None:
    """Wait for the Event of the row; where it has none, no Event may tell of the fault."""
    if row.event:
        scene.event(row.event)
    else:
        same(scene.world.events().keys() - USUAL_EVENTS, set(), "Events")
