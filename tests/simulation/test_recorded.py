"""A journal as a trace: as many sessions at each time as the daemon counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.traces.journal import load_journal
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.cli import main
from autoscaler.core.journal import Entry
from autoscaler.model import Decision, Observation, Occupancy, State, TargetRef
from autoscaler.simulation.recorded import Recording
from autoscaler.simulation.trace import Trace
from tests.builders import NOW, observation, pod, pods, policy
from tests.control.test_controller import APP
from tests.replay.recorded import a_journal, rules


def recording(*looks: tuple[float, Observation], desired: int = 2) -> Recording:
    made = Recording()
    for later, observed in looks:
        decision = Decision(observed.replicas, desired)
        made.add(Entry("writer", NOW + later, policy(), observed, State(), decision))
    return made


def present(trace: Trace) -> list[tuple[float, float]]:
    """When the number of sessions changes, in seconds, and to what."""
    steps = trace.concurrency
    return [(at - NOW, count) for at, count in zip(steps.times, steps.values, strict=True)]


DRAINED = pod("pod-0", sessions=9, occupancy=Occupancy(4))


@pytest.mark.parametrize(
    ("observed", "sessions"),
    [
        (observation(3, 4), 7),
        (observation(3, None), 5),
        (observation(3), 3),
        (observation(pods=(DRAINED, *pods(1)[:0])), 4),
        (observation(pods=(pod("another", sessions=None),)), 0),
    ],
    ids=[
        "those of all pods",
        "of a pod that says nothing, those that it had",
        "of a pod that is gone, none",
        "what a sidecar said is newer",
        "of a new pod that says nothing, none",
    ],
)
def test_sessions_are_counted_by_pod(observed: Observation, sessions: int) -> None:
    made = recording((0, observation(1, 2)), (2, observed))

    assert [*made.sessions.values()] == [3, sessions]


def test_an_increase_is_arrivals_and_a_decrease_is_departures() -> None:
    trace = recording((0, observation(1)), (2, observation(3)), (4, observation(2))).trace("x")

    assert present(trace)[-1][1] == 0
    assert max(count for _, count in present(trace)) == 3
    assert (trace.start, trace.end) == (NOW, NOW + 6)
    assert len(trace.sessions) == 3


def test_after_a_step_back_of_the_clock_entries_count_from_the_last_time_on() -> None:
    made = recording((0, observation(1)), (60, observation(2)), (30, observation(9)))
    made.add(Entry("w", NOW + 62, policy(), observation(3), State(), Decision(1, 1)))

    assert [at - NOW for at in made.sessions] == [0, 60, 62]


def test_what_the_pods_used_is_measured() -> None:
    looks = [
        (2.0 * n, observation(pods=pods(n, n, cpu=100 + 50 * n, memory=(200 + 30 * n) * 10**9)))
        for n in range(1, 6)
    ]

    measured = recording(*looks).trace("x").measured

    assert measured.cpu_per_session == pytest.approx(0.05)
    assert measured.memory_per_session == pytest.approx(30)
    assert measured.seats == 5


def test_the_lead_time_is_that_of_the_recorded_scale_ups() -> None:
    starting = (pod("pod-0", sessions=9), pod("pod-1", ready=False))
    made = recording((0, observation(9)), desired=1)
    for later in range(2, 30, 2):
        seen = observation(pods=starting) if later < 20 else observation(9, 0)
        made.add(Entry("w", NOW + later, policy(), seen, State(), Decision(1, 2)))

    assert made.trace("x").measured.lead_time == 18


def test_a_long_time_without_decisions_is_told() -> None:
    trace = recording((0, observation(1)), (2, observation(1)), (602, observation(1))).trace("x")

    assert "It has no decisions for 10m (1 time)" in trace.note


def test_a_journal_is_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, file = a_journal(tmp_path), tmp_path / "policy.json"
    file.write_text(rules().model_dump_json(by_alias=True))
    words = ["--policy", str(file), "--trace", str(journal), "--html", str(tmp_path / "x.html")]

    assert main(["simulate", *words]) == 0

    out = capsys.readouterr().out
    assert "peak 22" in out
    assert "Trace: journal.jsonl, bokeh/bokeh-app. Rebuilt from the counts of a journal" in out


FAR = TargetRef("far", "app")


def loaded(folder: Path, target: TargetRef, *policies: Any) -> Trace:
    return load_journal(a_journal(folder, *policies), target, lambda _: None)


def test_of_several_targets_the_policys_own_is_taken(tmp_path: Path) -> None:
    far = rules(name="far", target={"namespace": "bokeh", "deployment": "bokeh-app-2"})

    assert max(count for _, count in present(loaded(tmp_path, APP, rules(), far))) == 22


def test_of_a_single_target_the_sessions_are_taken_whatever_the_policy(tmp_path: Path) -> None:
    assert loaded(tmp_path, FAR).name == "journal.jsonl, bokeh/bokeh-app"


def test_a_target_that_is_not_among_several_is_an_error(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    text = journal.read_text()
    other = text.replace('"deployment":"bokeh-app"', '"deployment":"other"')
    journal.write_text(text + other)

    with pytest.raises(TraceError) as told:
        load_journal(journal, FAR, lambda _: None)

    known = "expected one of bokeh/bokeh-app, bokeh/other"
    assert str(told.value) == f"{journal}: no decision about far/app, {known}"


def test_a_damaged_line_is_told_in_the_note_and_a_damaged_journal_is_an_error(
    tmp_path: Path,
) -> None:
    journal = a_journal(tmp_path)
    whole = journal.read_text()
    journal.write_text(whole[:-5])
    note = load_journal(journal, APP, lambda _: None).note
    assert f"Not read: {journal}:33: the line is incomplete" in note

    journal.write_text('{"v":7}\n')
    with pytest.raises(TraceError) as told:
        load_journal(journal, APP, lambda _: None)
    assert str(told.value).startswith(f"{journal}:1: the format version is 7, expected 1")


def test_a_journal_without_sessions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 sessions, expected 1 to"):
        recording((0, observation(0))).trace("x")
