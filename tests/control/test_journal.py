"""A journal has every decision as it was made, whatever else happens, and holds up nothing."""

from __future__ import annotations

import errno
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from autoscaler.control.state_store import StateStore
from autoscaler.core.journal import Decoder, Encoder, Entry
from autoscaler.errors import ClusterError, ConflictError, LeaseError
from autoscaler.reporting.journal import MOST_WAITING, Journal
from autoscaler.reporting.metrics import DaemonMetrics
from autoscaler.simulation.replay import replay
from tests.builders import policy
from tests.control.test_controller import APP, DRAIN_PASSES, OTHER, World, other
from tests.control.test_cuts import QUICK
from tests.control.test_leading import LEADS
from tests.control.test_taking_effect import Returning, asked_again
from tests.fakes import FakeCluster, FakeLeadership

LONG = 4 * DRAIN_PASSES
FULL = OSError(errno.ENOSPC, "No space left on device")


@dataclass
class Disk:
    """Files of a journal. begins: whether the next line is the first of a file."""

    files: list[list[str]] = field(default_factory=lambda: [[]])
    begins: bool = False
    error: OSError | None = None
    answers: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def begin(self) -> bool:
        self.answers.wait()
        begins, self.begins = self.begins, False
        if begins:
            self.files.append([])
        return begins

    def append(self, *lines: str) -> None:
        if self.error is not None:
            raise self.error
        self.files[-1] += lines

    def entries(self) -> list[Entry]:
        entries = []
        for lines in self.files:
            decoder = Decoder()
            entries += [decoder.entry(line.encode()) for line in lines]
        return entries


class Recorded(World):
    """A controller that writes a journal."""

    def __init__(self, *policies: Any, disk: Disk | None = None, **options: Any) -> None:
        self.disk = disk or Disk()
        self.journal = Journal(self.disk, f"writer-{id(self)}")
        super().__init__(*policies, recorders=[self.journal], every_pass=True, **options)

    def entries(self) -> list[Entry]:
        self.journal.settle(10)
        return self.disk.entries()

    def reproduced(self) -> list[bool]:
        return [each.decision == each.entry.decision for each in replay(self.entries())]


def scaled_up_and_down(**options: Any) -> Recorded:
    world = Recorded(policy(behavior=QUICK), **options)
    world.cluster.deploy(APP, 10, 12)
    world.run(passes=3)
    for name in ("pod-0", "pod-1"):
        world.cluster.sessions["bokeh", name] = 0
    world.run(passes=LONG)
    return world


def test_every_decision_of_a_scale_up_and_of_a_drain_is_reproduced() -> None:
    world = scaled_up_and_down()

    assert world.cluster.replicas(APP) == 1
    assert len(world.reproduced()) == 3 + LONG
    assert all(world.reproduced())
    entries = world.entries()
    changes = [entry.decision.desired for entry in entries if entry.changed]
    assert changes == [replicas for _, replicas in world.cluster.changes]
    assert any(entry.marked for entry in entries)


@pytest.mark.parametrize("step", [-3600.0, 3600.0], ids=["an hour back", "an hour forward"])
def test_over_a_step_of_the_clock_too(step: float) -> None:
    world = scaled_up_and_down()
    world.clock.set_by(step)
    world.cluster.sessions["bokeh", "pod-0"] = 25
    world.run(passes=3)

    assert all(world.reproduced())
    assert world.entries()[-3].at - world.entries()[-4].at == step + 5


def test_over_a_restart_that_continues_the_file() -> None:
    first = scaled_up_and_down()
    first.journal.settle(10)
    second = Recorded(policy(behavior=QUICK), cluster=first.cluster, disk=first.disk)
    second.run(passes=5)

    assert len({entry.writer for entry in second.entries()}) == 2
    assert all(second.reproduced())


def test_over_a_takeover_with_what_the_last_leader_knew() -> None:
    first = scaled_up_and_down(store=(store := StateStore(FakeCluster().clock)))
    known = store.text("bokeh".__eq__)
    store = StateStore(first.clock)
    store.recall("bokeh".__eq__, known)
    second = Recorded(policy(behavior=QUICK), cluster=first.cluster, disk=first.disk, store=store)
    second.run(passes=3)

    [*_, entry] = [each for each in second.entries() if each.before is not None]
    assert entry.before is not None
    assert entry.before.last_scale_down is not None
    assert all(second.reproduced())


def test_each_file_stands_alone() -> None:
    world = Recorded()
    world.cluster.deploy(APP, 10, 12)
    world.run(passes=3)
    world.journal.settle(10)
    world.disk.begins = True
    world.run(passes=3)
    world.journal.settle(10)

    world.disk.files.pop(0)

    assert len(world.reproduced()) == 3
    assert all(world.reproduced())


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(ConflictError("changed meanwhile"), id="a conflict, and a second look"),
        pytest.param(ClusterError("no answer"), id="a change that was not answered"),
    ],
)
def test_over_a_change_that_failed(refusal: ClusterError) -> None:
    world = Recorded()
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [refusal]
    world.run(passes=6)

    assert world.cluster.replicas(APP) == 3
    assert all(world.reproduced())


def test_a_decision_that_was_not_carried_out_is_there_with_the_reason() -> None:
    leadership = FakeLeadership({"bokeh": LEADS}, refusals=[LeaseError("another daemon leads")])
    world = Recorded(leadership=leadership)
    world.cluster.deploy(APP, 10, 12)
    world.run()

    [entry] = world.entries()
    assert (entry.decision.desired, entry.changed) == (3, False)
    assert entry.problem == "another daemon leads"


def test_a_scale_down_that_a_last_look_stopped_is_there_as_decided() -> None:
    cluster, disk = Returning(), Disk()

    def come() -> None:
        cluster.sessions["bokeh", "pod-1"] = 1

    journal = Journal(disk, "writer")
    journal.record(asked_again(cluster, come).run_pass())
    journal.settle(10)

    [entry] = disk.entries()
    assert (entry.decision.desired, entry.changed) == (1, False)
    assert "pod-1 (1 session) when asked again right before the scale-down" in entry.problem
    assert [each.decision == entry.decision for each in replay([entry])] == [True]


def test_a_full_disk_ends_the_journal_with_one_line_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "autoscaler")
    world, metrics = Recorded(), DaemonMetrics()
    metrics.show_journal(lambda: world.journal.is_writing)
    world.cluster.deploy(APP, 10)
    world.run()
    world.journal.settle(10)
    assert metrics.registry.get_sample_value("bokeh_autoscaler_journal_writing") == 1

    world.disk.error = FULL
    world.cluster.sessions["bokeh", "pod-0"] = 12
    world.run()
    world.journal.settle(10)
    world.disk.error = None
    world.run()

    assert len(world.entries()) == 1
    assert world.cluster.replicas(APP) == 2
    assert metrics.registry.get_sample_value("bokeh_autoscaler_journal_writing") == 0
    [line] = [line for line in caplog.messages if "journal" in line]
    assert line.endswith("No space left on device; the journal ends here, and scaling goes on")


def test_a_defect_of_the_journal_ends_it_and_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> str:
        raise RuntimeError("a defect")

    world = Recorded()
    world.cluster.deploy(APP, 10, 12)
    monkeypatch.setattr(Encoder, "line", defect)
    world.run(passes=3)
    world.journal.settle(10)

    assert world.cluster.replicas(APP) == 3
    assert not world.journal.is_writing
    assert caplog.text.count("passes of the journal are lost") == 1


def test_a_disk_that_does_not_answer_holds_up_no_pass_and_what_follows_can_be_read() -> None:
    world = Recorded()
    world.cluster.deploy(APP, 10)
    world.run()
    world.journal.settle(10)
    world.disk.answers.clear()

    world.run(passes=MOST_WAITING + 10)
    world.disk.answers.set()
    world.journal.settle(10)
    world.run()

    assert MOST_WAITING < len(world.entries()) < MOST_WAITING + 10
    assert all(world.reproduced())


def test_several_policies_are_in_one_journal() -> None:
    world = Recorded(policy(), other())
    world.cluster.deploy(APP, 10, 12)
    world.cluster.deploy(OTHER, 3, uid="uid-2")
    world.run(passes=4)

    assert [entry.policy.name for entry in world.entries()] == ["dashboards", "other"] * 4
    assert all(world.reproduced())
