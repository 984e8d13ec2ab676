"""A run that skips ticks whose decision is known is the run that decides at every tick."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from autoscaler.policy import Policy
from autoscaler.simulation.candidates import plain_policy
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.trace import Session, Trace, trace_of
from tests.builders import policy
from tests.core.test_holds_until import a_timed_policy

MIDNIGHT = 1_800_014_400.25
HOUR = 3_600.0


@st.composite
def a_busy_policy(draw: st.DrawFn) -> Policy:
    """A policy with few seats and a low minimum, so that a few sessions move the replicas."""
    chosen: Policy = draw(a_timed_policy())
    written = plain_policy(chosen)
    written["replicas"] = {"min": 1, "max": chosen.replicas.max + 5}
    written["metrics"][0]["seats"] = draw(st.integers(1, 3))
    return Policy.model_validate(written)


@st.composite
def visits(draw: st.DrawFn) -> Trace:
    """Some rushes of short and long visits, with quiet hours between them."""
    sessions = []
    for _ in range(draw(st.integers(1, 4))):
        start = MIDNIGHT + draw(st.integers(0, 2 * 3_600)) + draw(st.sampled_from([0.0, 0.3]))
        every = draw(st.sampled_from([0.5, 7.0, 90.0]))
        stays = draw(st.lists(st.sampled_from([5.0, 300.0, 2_500.0]), min_size=1, max_size=15))
        sessions += [Session(start + n * every, start + n * every + s) for n, s in enumerate(stays)]
    return trace_of("rushes", sessions)


@settings(max_examples=50, deadline=None)
@given(
    chosen=a_busy_policy(),
    sessions=visits(),
    tick=st.sampled_from([12.5, 15.0, 59.7]),
    seats=st.integers(1, 3),
    lead_time=st.sampled_from([0.0, 40.0, 700.0]),
    scrape_interval=st.sampled_from([0.0, 1.0, 15.0, 47.3]),
    page_load=st.sampled_from([0.0, 2.0, 200.0]),
)
def test_the_run_is_the_same_tick_by_tick(
    chosen: Policy,
    sessions: Trace,
    tick: float,
    seats: int,
    lead_time: float,
    scrape_interval: float,
    page_load: float,
) -> None:
    assumptions = Assumptions(
        seats,
        tick,
        lead_time,
        cpu_per_session=0.4,
        scrape_interval=scrape_interval,
        page_load=page_load,
    )

    skipping = simulate(chosen, sessions, assumptions)
    full = simulate(chosen, sessions, assumptions, every_tick=True)

    event(f"{10 * skipping.decisions // full.decisions}0 % decided")
    assert skipping == full


REFUSE = [{"type": "sessions", "seats": 10, "spare": {"refuse": "1%"}}]
CPU = [{"type": "cpu", "utilization": "70%"}]


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        pytest.param({}, 20, id="sessions"),
        pytest.param({"metrics": CPU}, 20, id="CPU"),
        pytest.param({"drain": "none"}, 20, id="without a drain"),
        pytest.param({"metrics": REFUSE}, 30, id="averages of arrivals"),
    ],
)
def test_in_quiet_hours_few_decisions_are_made(rules: dict[str, object], most: int) -> None:
    quiet = trace_of("two visits", [Session(0.0, 600.0), Session(3 * HOUR, 4 * HOUR)])
    run = simulate(policy(**rules), quiet, Assumptions(tick=15.0))
    assert run.decisions <= most
