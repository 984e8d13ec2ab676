"""What a policy sees is as old as the last scrape, and a user takes a seat before that."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model import Cause, Cordon, Occupancy, PodMarks
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.fleet import SimulatedFleet, SimulatedPod
from autoscaler.simulation.scrapes import ScrapeTimes
from autoscaler.simulation.seen import Observer
from autoscaler.simulation.trace import Session, trace_of
from tests.builders import policy

ALL_SIGNALS = policy(
    metrics=[
        {"type": "sessions", "seats": 10, "spare": {"refuse": "1%"}},
        {"type": "prometheus", "query": "sum(bokeh_sessions)", "perReplica": 10},
    ]
)
SEATS = 10
# At the same time in this order.
COMES, LEAVES, LOOKS = range(3)
START = 1_800_000_000.0
moments = st.floats(START, START + 1e6)


@given(interval=st.sampled_from([1.0, 15.0, 59.7]), share=st.floats(0, 0.99), moment=moments)
def test_scrapes_are_an_interval_apart(interval: float, share: float, moment: float) -> None:
    times = ScrapeTimes(interval, share * interval)
    last = times.last(moment)

    assert moment - interval < last <= moment
    assert times.following(moment) - last == pytest.approx(interval)
    assert times.before(last) == pytest.approx(last - interval)
    assert times.before(last + interval / 2) == last


def test_the_scrapes_of_pods_are_spread_over_the_interval() -> None:
    fleet = SimulatedFleet(SEATS, 15.0, Random(1))

    offsets = [fleet.create(0.0, 0.0).times.offset for _ in range(200)]

    assert all(0.0 <= offset < 15.0 for offset in offsets)
    assert 5.0 < sum(offsets) / 200 < 10.0


@given(
    came=st.lists(st.tuples(st.floats(0, 300), st.floats(0, 90)), min_size=1, max_size=12),
    interval=st.sampled_from([0.0, 15.0, 40.0]),
    looks=st.lists(st.floats(0, 400), min_size=1, max_size=12),
)
@settings(max_examples=150)
def test_a_policy_sees_what_was_so_at_the_last_scrape(
    came: list[tuple[float, float]], interval: float, looks: list[float]
) -> None:
    """Counted anew for each look, from the times of the sessions alone."""
    fleet = SimulatedFleet(SEATS, interval, Random(1))
    pod = fleet.create(START - 900.0, START - 900.0)
    fleet.mark_ready(pod)
    observer = Observer(
        ALL_SIGNALS, cpu_per_session=0.1, cpu_window=60.0, memory_per_session=1, fresh_for=30
    )
    visits = [(START + at, START + at + stays) for at, stays in came]
    changes = [(start, COMES, number) for number, (start, _) in enumerate(visits)]
    changes += [(end, LEAVES, number) for number, (_, end) in enumerate(visits)]
    changes += [(START + at, LOOKS, 0) for at in looks]
    for at, what, number in sorted(changes):
        if what == LOOKS:
            _assert_seen(observer, fleet, pod, visits, at)
        elif what == COMES:
            fleet.seat(number, pod, at, connects_at=at)
        else:
            fleet.leave(number, at)


def _assert_seen(
    observer: Observer,
    fleet: SimulatedFleet,
    pod: SimulatedPod,
    visits: list[tuple[float, float]],
    now: float,
) -> None:
    seen = observer.observe(fleet, 1, now)
    scraped = pod.times.last(now)
    present = sum(start <= scraped and not end <= scraped for start, end in visits)
    arrived = sum(scraped - 60.0 < start <= scraped for start, _ in visits)
    [state] = seen.pods

    assert state.sessions is not None
    assert state.arrivals is not None
    assert state.sessions.value == present
    assert state.arrivals.value == round(1_000 * arrived / 60.0)
    assert [each.value for each in seen.external.values()] == [1_000 * present]


def test_a_pod_has_no_samples_until_it_is_scraped_and_ready() -> None:
    fleet = SimulatedFleet(SEATS, 15.0, Random(1))
    pod = fleet.create(START, START + 40.0)
    observer = Observer(
        ALL_SIGNALS, cpu_per_session=0.1, cpu_window=60.0, memory_per_session=1, fresh_for=30
    )

    def count(now: float) -> int | None:
        [state] = observer.observe(fleet, 1, now).pods
        return state.sessions.value if state.sessions else None

    assert count(START + 30.0) is None
    fleet.mark_ready(pod)
    first = pod.times.following(START + 40.0)
    assert count(first - 0.1) is None
    assert count(first + 0.1) == 0


def test_a_page_takes_its_seat_before_it_is_counted() -> None:
    """While pages load, the only seat is taken and the policy does not know of anybody."""
    one_seat = policy(
        metrics=[{"type": "sessions", "seats": 1, "spare": 0}], replicas={"min": 1, "max": 2}
    )
    visits = trace_of("two", [Session(START, START + 600.0), Session(START + 20.0, START + 600.0)])
    slow = Assumptions(1, 5.0, 1.0, scrape_interval=0.0, page_load=100.0)

    run = simulate(one_seat, visits, slow)

    assert run.timeline.sessions.at(START + 10.0) == 1
    assert run.timeline.refused == (START + 20.0,)


@pytest.mark.parametrize(
    ("scrape_interval", "page_load", "late"),
    [(0.0, 0.0, 0.0), (0.0, 12.0, 15.0), (30.0, 0.0, 30.0), (30.0, 12.0, 45.0)],
)
def test_a_scale_up_waits_for_the_page_the_scrape_and_the_tick(
    scrape_interval: float, page_load: float, late: float
) -> None:
    rules = policy(metrics=[{"type": "sessions", "seats": 10, "spare": 5}])
    rush = [Session(START, START + 900.0)]
    rush += [Session(START + 300.0, START + 900.0) for _ in range(30)]
    assumed = Assumptions(100, 5.0, scrape_interval=scrape_interval, page_load=page_load)

    run = simulate(rules, trace_of("rush", rush), assumed)

    first = next(each.at for each in run.timeline.changes if each.at >= START + 300.0)
    assert page_load <= first - START - 300.0 <= late + 5.0
    assert (first > START + 300.0) == (late > 0)


def test_a_page_that_still_loads_keeps_its_pod() -> None:
    """The sidecar of a cordoned pod is asked directly, and knows of pages on their way."""
    fleet = SimulatedFleet(SEATS, 15.0, Random(1))
    pod = fleet.create(START, START)
    fleet.mark_ready(pod)
    cordon = Cordon(Cause.SCALE_DOWN, START + 1.0)
    observer = Observer(
        ALL_SIGNALS, cpu_per_session=0.1, cpu_window=60.0, memory_per_session=1, fresh_for=30
    )

    def occupancy(now: float) -> Occupancy | None:
        [state] = observer.observe(fleet, 1, now).pods
        return state.occupancy

    fleet.seat(1, pod, START, connects_at=START + 20.0)
    fleet.set_marks(pod.uid, PodMarks(routable=False, cordon=cordon), START + 1.0)
    assert occupancy(START + 2.0) == Occupancy(0, opening=1)
    fleet.connect(1, START + 20.0)
    assert occupancy(START + 20.0) == Occupancy(1)
    fleet.leave(1, START + 30.0)
    assert occupancy(START + 35.0) == Occupancy(0, empty_for=5.0)
