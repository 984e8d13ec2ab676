"""`autoscaler explain`: one decision in sentences, with the numbers worked out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli import main
from autoscaler.core.decide import decide
from autoscaler.core.journal import Entry
from autoscaler.model import (
    Cause,
    Confirmation,
    Cordon,
    Decision,
    Departing,
    DrainPlan,
    Observation,
    Occupancy,
    PodMarks,
    Reason,
    Sample,
    Step,
    Unavailable,
)
from autoscaler.policy import Policy
from autoscaler.reporting.explanation import explain
from tests.builders import NOW, observation, pod, pods, policy
from tests.replay.recorded import a_journal, rules

SCALE_UP = """\
At 2027-01-15 09:00:05 CET, policy dashboards decided about bokeh/bokeh-app: it changes from \
2 replicas to 4, because of MetricAboveTarget.

What was seen
  spec.replicas was 2. Of 2 pods, 2 could hold sessions.
  They had 22 sessions: pod-0 10, pod-1 12. The oldest count was 0s old.

What each metric asked for
  sessions asked for 4 replicas: (22 connected + 10 spare) / 10 seats: 32 / 10 = 3.20, rounded up \
to 4.

How the number came about
  1. MetricAboveTarget made it 4: sessions: (22 connected + 10 spare) / 10 seats.

What was done
  spec.replicas was set from 2 to 4.
  The daemon protected pod pod-0 from eviction.
  The daemon protected pod pod-1 from eviction.
"""
Said = tuple[int, str, str]


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str, policies: tuple[Policy, ...] = ()) -> Said:
        code = main(["explain", str(a_journal(tmp_path, *policies)), *words])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "at",
    ["2027-01-15T08:00:05Z", "2027-01-15T09:00:05+01:00", "2027-01-15T09:00:09", "9:00:05"],
)
def test_a_decision_is_found_by_its_time_and_told(told: Callable[..., Said], at: str) -> None:
    assert told("--at", at, "--timezone", "Europe/Berlin") == (0, SCALE_UP, "")


@pytest.mark.parametrize("at", ["08:00:05", "2027-01-15T08:00:05.654321"])
def test_a_decision_is_found_by_the_rounded_time_that_was_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    assert main(["explain", str(a_journal(tmp_path, late=0.6543214)), "--at", at]) == 0
    assert "spec.replicas was set from 2 to 4." in capsys.readouterr().out


def test_a_time_long_after_the_last_decision_says_so(told: Callable[..., Said]) -> None:
    code, out, _ = told("--at", "08:10")

    assert code == 0
    assert out.startswith("At 2027-01-15 08:02:45 UTC")
    assert "This was 7m15s before the time that was asked for." in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--at", "07:00"],
            "no decision until then; the first one was made at 2027-01-15T08:00:05+00:00",
        ),
        (["--at", "09:00", "--policy", "x"], "no policy x, expected one of dashboards"),
    ],
)
def test_a_decision_that_is_not_there_is_wrong_input(
    told: Callable[..., Said], words: list[str], said: str
) -> None:
    assert told(*words) == (2, "", f"autoscaler explain: {said}\n")


def test_of_several_policies_one_is_chosen(told: Callable[..., Said]) -> None:
    far = rules(name="other", target={"namespace": "far", "deployment": "bokeh-app"})
    both = (rules(), far)

    several = "several policies: set --policy to one of dashboards, other"
    assert told("--at", "09:00", policies=both) == (2, "", f"autoscaler explain: {several}\n")
    code, out, _ = told("--at", "09:00", "--policy", "other", policies=both)
    assert code == 0
    assert "policy other decided" in out


def test_a_file_without_a_decision_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_text("{}\n")

    for at in ("08:00", "2027-01-15T08:00Z"):
        assert main(["explain", str(file), "--at", at]) == 2
        told = f"{file}:1: not a line of a journal\nautoscaler explain: no decision could be read\n"
        assert capsys.readouterr().err == told


@pytest.mark.parametrize("at", ["8", "25:00", "08:00 Uhr", "2027-13-01"])
def test_a_wrong_time_says_what_is_expected(capsys: pytest.CaptureFixture[str], at: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "journal.jsonl", "--at", at])

    assert ended.value.code == 2
    wanted = f"{at!r}: expected a time such as 2026-01-12T09:31+01:00, or 09:31"
    assert wanted in capsys.readouterr().err


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def sentences(
    observed: Observation, decision: Decision | None = None, rule: Policy | None = None, **done: Any
) -> Iterator[str]:
    rule = rule or policy()
    made = decision or decide(rule, observed, None, NOW)[0]
    entry = Entry("writer", NOW, rule, observed, None, made, **done)
    return (line.strip() for line in explain(entry, clock))


CPU = {"type": "cpu", "utilization": "70%"}
CORDON = {"routable": False, "cordon": Cordon(Cause.SCALE_DOWN, NOW - 60)}
BUSY = pod("pod-1", sessions=2, **CORDON, occupancy=Occupancy(2, opening=1))
EMPTY = pod("pod-1", sessions=0, **CORDON, occupancy=Occupancy(0, empty_for=90.0))
SILENT = pod("pod-1", sessions=0, **CORDON, silence="no route")
FULL = pod("pod-1", sessions=10, routable=False, cordon=Cordon(Cause.FULL, NOW - 60))


@pytest.mark.parametrize(
    ("observed", "sentence"),
    [
        (
            observation(12, None),
            "Without a session count, and so counted as full and busy: pod-1.",
        ),
        (
            observation(*[1] * 25),
            "They had 25 sessions: "
            + ", ".join(f"pod-{n} 1" for n in range(20))
            + " and 5 more pods. The oldest count was 0s old.",
        ),
        (
            observation(pods=pods(4, at=NOW - 12)),
            "They had 4 sessions: pod-0 4. The oldest count was 12s old.",
        ),
        (
            observation(pods=(*pods(1), BUSY)),
            (
                "Pod pod-1 was cordoned (scale-down) since 07:59:00; its sidecar said 2 sessions "
                "and 1 being opened."
            ),
        ),
        (
            observation(pods=(*pods(1), EMPTY)),
            (
                "Pod pod-1 was cordoned (scale-down) since 07:59:00; its sidecar said 0 sessions, "
                "empty for 1m30s."
            ),
        ),
        (
            observation(pods=(*pods(1), SILENT)),
            (
                "Pod pod-1 was cordoned (scale-down) since 07:59:00; its sidecar gave no answer "
                "(no route), so it counted as busy."
            ),
        ),
        (observation(pods=(*pods(1), FULL)), "Pod pod-1 was full, and so cordoned since 07:59:00."),
        (
            observation(
                pods=(pod(sessions=1), pod("pod-1", ready=False), pod("pod-2", phase="Pending"))
            ),
            "2 pods were starting or not Ready: pod-1, pod-2.",
        ),
        (
            observation(pods=(pod(sessions=1), pod("pod-1", deleting=True))),
            "1 pod was being deleted: pod-1.",
        ),
        (
            observation(1, unavailable={"sessions": "Prometheus did not answer"}),
            "The signal sessions could not be read: Prometheus did not answer.",
        ),
        (
            observation(None, hints={"sessions": "no series has the label pod"}),
            "Pods without sessions: no series has the label pod.",
        ),
        (
            observation(1, external={"up": Unavailable("several series"), "x": Sample(1500, NOW)}),
            "The query up gave nothing: several series.",
        ),
        (observation(1, external={"x": Sample(1500, NOW)}), "The query x gave 1.5."),
        (observation(1, rollout_in_progress=True), "A rollout was in progress."),
        (
            observation(1, rollout_in_progress=True, paused=True),
            "A rollout was in progress and paused.",
        ),
        (
            observation(1, other_autoscaler="HorizontalPodAutoscaler x"),
            "Another autoscaler had the same target: HorizontalPodAutoscaler x.",
        ),
        (
            observation(1, pause="INC-7"),
            (
                "The autoscaler was paused: the annotation bokeh-autoscaler/paused of the "
                "Deployment pauses it: INC-7."
            ),
        ),
    ],
)
def test_what_was_seen_and_what_was_missing(observed: Observation, sentence: str) -> None:
    assert sentence in list(sentences(observed))


@pytest.mark.parametrize(
    ("metrics", "observed", "sentence"),
    [
        (
            [{"type": "sessions", "seats": 10}],
            observation(10, 10),
            "sessions asked for 2 replicas: (20 connected + 0 spare) / 10 seats: 20 / 10 = 2.",
        ),
        (
            [{"type": "sessions", "seats": 10}],
            observation(None),
            (
                "sessions asked for nothing (FailedGetSessionsMetric): no session count from any "
                "of 1 pods."
            ),
        ),
        (
            [CPU],
            observation(pods=pods(1, 1, cpu=1_050)),
            "cpu asked for 3 replicas: 105% of requests, target 70%: 105 / 70 x 2 pods = 3.",
        ),
        (
            [CPU],
            observation(pods=pods(1, 1, cpu=720)),
            "cpu asked for 2 replicas: 72% of requests, target 70%: 72 / 70 = 1.03, which keeps 2.",
        ),
        (
            [{"type": "prometheus", "query": "x", "perReplica": 4}],
            observation(1, 1, external={"x": Sample(13_000, NOW)}),
            (
                "prometheus asked for 4 replicas: 13, target 4 a replica: 13 / 4 = 3.25, rounded "
                "up to 4."
            ),
        ),
    ],
)
def test_each_metric_is_worked_out(metrics: Any, observed: Observation, sentence: str) -> None:
    assert sentence in list(sentences(observed, rule=policy(metrics=metrics)))


def test_sessions_that_the_policy_does_not_need_are_not_missed() -> None:
    blind = observation(None, None)

    told = "".join(sentences(blind, rule=policy(metrics=[CPU], drain="none")))

    assert "session count" not in told
    assert "session count" in "".join(sentences(blind, rule=policy(metrics=[CPU])))


def test_a_hold_is_named() -> None:
    observed = observation(1, None, None)

    told = list(sentences(observed, rule=policy(metrics=[CPU])))

    assert "So a scale-down was held by FailedGetResourceMetric." in told


def test_what_the_schedule_sets_is_told_first() -> None:
    window = {"from": "07:00", "to": "09:00", "spare": 30}
    told = list(sentences(observation(5, 5), rule=policy(schedule=[window])))

    first = told.index("How the number came about") + 1
    assert told[first : first + 2] == [
        "1. ScheduledSettings kept 2: schedule[0] (07:00 to 09:00 UTC) sets spare 30.",
        "2. MetricAboveTarget made it 4: sessions: (10 connected + 30 spare) / 10 seats.",
    ]


def test_no_step_is_told_too() -> None:
    assert "No step moved the number or held it." in list(sentences(observation(10, 10)))


PLAN = DrainPlan(1, ((pod("pod-1"), PodMarks(True)), (EMPTY, PodMarks(True, cost=-5))), (EMPTY,))


@pytest.mark.parametrize(
    ("decision", "done", "sentence"),
    [
        (Decision(2, 1, drain=PLAN), {"changed": True}, "That deletes pod-1."),
        (Decision(2, 1, drain=PLAN), {}, "spec.replicas was not set to 1."),
        (Decision(2, 2, drain=PLAN), {}, "The daemon updated the notes of pod pod-1."),
        (Decision(2, 2, drain=PLAN), {}, "The daemon gave pod pod-1 the deletion cost -5."),
        (
            Decision(2, 2, drain=PLAN),
            {"marked": 1},
            "Of these 2 changes of pods, 1 were written.",
        ),
        (
            Decision(2, 1),
            {"problem": "another daemon leads"},
            "Not all of it was carried out: another daemon leads.",
        ),
        (
            Decision(2, 2, confirmed=Confirmation(1, 3, mismatch=True)),
            {},
            (
                "The last scale-down has ended: Kubernetes deleted 1 pod, among them a pod that "
                "had not been drained."
            ),
        ),
        (
            Decision(2, 2, ended=(Departing("pod-9", 1, NOW),)),
            {},
            "Pod pod-9 has ended, and 1 session with it.",
        ),
        (
            Decision(2, 2, reset="x set spec.replicas"),
            {},
            "Somebody else wrote over a setting: x set spec.replicas.",
        ),
        (
            Decision(2, 2, steps=(Step(Reason.COOLDOWN_DOWN, 2, "held"),)),
            {},
            "1. CooldownDown kept 2: held.",
        ),
    ],
)
def test_what_was_done(decision: Decision, done: dict[str, Any], sentence: str) -> None:
    assert sentence in list(sentences(observation(1, 0), decision, **done))
