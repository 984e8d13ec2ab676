"""A pass that decides only what has changed does what one does that decides everything anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from autoscaler.control import controller
from autoscaler.control.state_store import StateStore
from autoscaler.core import forecast
from autoscaler.core.decide import decide
from autoscaler.core.now import Now
from autoscaler.errors import ClusterError, ConflictError
from autoscaler.model import Sample, State, Unavailable
from autoscaler.policy import Policy
from autoscaler.ports import Readings, Signal
from autoscaler.reporting.logs import LogRecorder
from tests.builders import policy
from tests.control.test_cached import CachedCluster
from tests.control.test_controller import APP, DASHBOARDS, OTHER, World, other
from tests.core.test_holds_until import a_timed_policy

SCRAPE = 15.0
QUERY = "sum(rate(requests_total[1m]))"
Step = tuple[str, int]


@dataclass
class Scraped(CachedCluster):
    """Its pods are scraped every 15 s. unscraped: those that are not. load: what they use."""

    unscraped: set[tuple[str, str]] = field(default_factory=set)
    load: int = 1

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        at = now - now % SCRAPE
        pods = {key: count for key, count in self.sessions.items() if key not in self.unscraped}
        rates = {key: Sample(40 * self.load + count, at, 60.0) for key, count in pods.items()}
        samples: dict[tuple[Signal, str], Mapping[tuple[str, str], Sample]] = {
            ("sessions", "exporter"): {key: Sample(count, at) for key, count in pods.items()},
            ("memory", "exporter"): {key: Sample(10**6 * self.load, at) for key in pods},
            ("memory_limit", "exporter"): {key: Sample(10**7, at) for key in pods},
        }
        moving: Sequence[Signal] = ("cpu", "arrivals", "departures")
        samples |= {(signal, "exporter"): rates for signal in moving}
        number = Sample(1_000 * self.load, now) if self.load < 9 else Unavailable("no series")
        return Readings(samples, dict.fromkeys(queries, number), self.failed)


class Tale:
    """A controller over a cluster to which things happen, and everything that it does."""

    def __init__(self, rules: Policy, *, every_pass: bool) -> None:
        self.cluster = Scraped()
        self.cluster.deploy(APP, 10, 7, 3)
        self.cluster.deploy(OTHER, 4, 4, uid="uid-2")
        self.logged: list[str] = []
        self.store = StateStore(self.cluster.clock)
        self.world = World(
            rules,
            other(),
            cluster=self.cluster,
            recorders=[LogRecorder()],
            store=self.store,
            every_pass=every_pass,
        )
        self.rules = rules

    def after(self, step: Step) -> list[object]:
        """Let something happen, and a pass after it."""
        what, number = step
        getattr(self, what)(number)
        self.wait(1)
        return self.outcome()

    def wait(self, passes: int) -> None:
        for _ in range(passes % 24):
            self.cluster.clock.advance(5.0)
            self.world.controller.run_pass()

    def sleep(self, seconds: int) -> None:
        self.cluster.clock.advance(seconds)

    def come(self, users: int) -> None:
        key = sorted(self.cluster.sessions)[users % len(self.cluster.sessions)]
        self.cluster.sessions[key] = users % 13

    def leave(self, _: int) -> None:
        self.cluster.sessions = dict.fromkeys(self.cluster.sessions, 0)

    def hide(self, number: int) -> None:
        keys = sorted(self.cluster.sessions)
        self.cluster.unscraped = set(keys[: number % 4])

    def use(self, load: int) -> None:
        self.cluster.load = load % 12

    def fail(self, number: int) -> None:
        self.cluster.failed = {("sessions", "exporter"): "HTTP 503"} if number % 2 else {}

    def lose(self, number: int) -> None:
        self.cluster.failures = {APP: ClusterError("no answer")} if number % 2 else {}

    def refuse(self, number: int) -> None:
        errors: list[Any] = [ConflictError("changed"), ClusterError("no answer")]
        self.cluster.refusals = errors[: number % 3]

    def age(self, number: int) -> None:
        self.cluster.age = 60.0 if number % 2 else 1.0

    def rival(self, number: int) -> None:
        words = "HorizontalPodAutoscaler x" if number % 2 else None
        self._edit(other_autoscaler=words)

    def roll(self, number: int) -> None:
        self._edit(rollout_in_progress=bool(number % 2))

    def scale(self, number: int) -> None:
        self._edit(replicas_writer="kubectl" if number % 2 else "")
        self.cluster.edit_by_hand(APP, 1 + number % 6)

    def starting(self, number: int) -> None:
        """A pod gets Ready now, or stops being so."""
        pods = self.cluster.targets[APP].pods
        fresh = replace(
            pods[-1],
            ready=bool(number % 2),
            ready_since=self.cluster.clock.at,
            started_at=self.cluster.clock.at - 5.0,
        )
        self._edit(pods=(*pods[:-1], fresh))

    def cordon(self, number: int) -> None:
        """Somebody sets the label of a pod."""
        pods = self.cluster.targets[APP].pods
        other = replace(pods[0], routable=bool(number % 2), label_writer="kubectl-label")
        self._edit(pods=(other, *pods[1:]))

    def recreate(self, number: int) -> None:
        self.cluster.deploy(APP, *range(1 + number % 4), uid=f"uid-{number}")

    def silence(self, number: int) -> None:
        names = sorted(pod.name for pod in self.cluster.targets[APP].pods)
        self.cluster.silent = set(names[: number % 3])

    def set_clock(self, number: int) -> None:
        self.cluster.clock.set_by([-3_600.0, -1.0, 1.0, 3_600.0][number % 4])

    def edit(self, number: int) -> None:
        chosen = policy(replicas={"min": 1 + number % 3, "max": 20})
        self.world.policies.policies = (chosen if number % 2 else self.rules, other())

    def _edit(self, **changes: Any) -> None:
        self.cluster.targets[APP] = replace(self.cluster.targets[APP], **changes)

    def outcome(self) -> list[object]:
        """What the daemon has done so far, and what it would go on from."""
        states = [(key, _caught_up(state)) for key, state in sorted(self.store._states.items())]
        metrics = generate_latest(self.world.telemetry.registry).decode()
        changes = sorted(self.cluster.changes, key=lambda change: change[0])  # two may be at once
        return [changes, self.cluster.events, self.cluster.targets, states, metrics]


def _caught_up(state: State) -> State:
    """The state after the slots of the forecast that are over: the next decision learns them."""
    traffic = state.traffic
    if traffic is None or traffic.profile is None:
        return state
    profile = forecast.caught_up(traffic.profile, Now(traffic.at))
    current = profile.current.to(profile.current.rate, traffic.at)
    current = current._replace(until_then=round(current.until_then, 9))  # a sum of fewer parts
    return state._replace(traffic=traffic._replace(profile=profile._replace(current=current)))


STEPS = (
    "wait wait wait sleep come come leave hide use fail lose refuse age rival roll scale starting "
    "cordon recreate silence set_clock edit"
)
steps = st.tuples(st.sampled_from(STEPS.split()), st.integers(0, 70))


# Its decisions do not rest on the forecast, whose errors are told all the same.
AT_MOST_ONE = policy(
    replicas={"min": 1, "max": 1},
    metrics=[{"type": "sessions", "seats": 1, "spare": 0}],
)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _told(rules: Policy, story: Sequence[Step], *, every_pass: bool) -> list[object]:
    """Everything that is done in a story, and what the daemon would go on from after each step."""
    lines: list[str] = []
    logger, handler = logging.getLogger("autoscaler"), _Lines(lines)
    logger.addHandler(handler)
    try:
        tale = Tale(rules, every_pass=every_pass)
        told = [repr(each) for step in story for each in tale.after(step)]
        return [*told, *lines]
    finally:
        logger.removeHandler(handler)


@settings(max_examples=20, deadline=None)
@given(rules=a_timed_policy(), story=st.lists(steps, min_size=1, max_size=20))
@example(rules=AT_MOST_ONE, story=[("wait", 18), ("recreate", 0), ("edit", 1), ("wait", 70)] * 3)
def test_the_same_is_written_told_and_remembered(rules: Policy, story: list[Step]) -> None:
    assert _told(rules, story, every_pass=False) == _told(rules, story, every_pass=True)


def test_a_policy_at_rest_is_decided_once_and_its_metrics_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _decisions(monkeypatch)
    world = World(policy(replicas={"min": 2, "max": 9}))
    world.cluster.deploy(APP, 5, 7)
    world.run(passes=3)
    settled = made()

    world.run(passes=50)

    assert made() == settled
    labels = {**DASHBOARDS, "direction": "none", "reason": "DesiredWithinRange"}
    assert world.metric("decisions_total", **labels) == 53


@pytest.mark.parametrize(
    ("change", "decided"),
    [
        pytest.param(lambda tale: None, 0, id="nothing"),
        pytest.param(lambda tale: tale.come(6), 1, id="a user"),
        pytest.param(lambda tale: tale.hide(1), 1, id="a pod that tells nothing any more"),
        pytest.param(lambda tale: tale.fail(1), 1, id="no sessions of any pod"),
        pytest.param(
            lambda tale: tale.rival(1), 2, id="an HPA, for which pods lose their protection"
        ),
        pytest.param(lambda tale: tale.starting(0), 1, id="a pod that is not Ready"),
        pytest.param(lambda tale: tale.edit(1), 1, id="an edited policy"),
        pytest.param(
            lambda tale: tale.sleep(400), 2, id="a gap, after which old entries are dropped"
        ),
        pytest.param(lambda tale: tale.set_clock(3), 1, id="a step of the clock"),
        pytest.param(lambda tale: tale.age(1), 3, id="a stale cache, in every pass"),
        pytest.param(lambda tale: tale.cordon(0), 3, id="a pod that drains, in every pass"),
    ],
)
def test_what_leads_to_another_decision(
    change: Callable[[Tale], None], decided: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _decisions(monkeypatch)
    tale = Tale(policy(replicas={"min": 3, "max": 9}), every_pass=False)
    tale.world.policies.policies = (tale.rules,)
    tale.wait(10)
    settled = made()

    change(tale)
    tale.world.policies.policies = tale.world.policies.policies[:1]
    tale.wait(3)

    assert made() - settled == decided


def _decisions(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the decisions that are made."""
    made: list[float] = []

    def counted(*args: Any) -> Any:
        made.append(args[3])
        return decide(*args)

    monkeypatch.setattr(controller, "decide", counted)
    return lambda: len(made)
