"""The figures of both measurements, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, median
from typing import Any

from tests.benchmarks.fidelity.controller import Load, compare, compare_decisions
from tests.benchmarks.fidelity.trajectories import Distance, average, distance
from tests.benchmarks.fidelity.wave import Course, Recording, simulated

AREA_GOAL, HOURS_GOAL = 2.0, 10.0  # percent of the replica-hours
SEEDS = 20
# Nobody knows when the controller syncs: by which share of the period others come earlier.
EARLIER = (0.2, 0.4, 0.6, 0.8)


def hpa_figures(loads: Sequence[Load]) -> dict[str, Any]:
    """Return the figures of the controller; areas and differences in percent of its hours."""
    apart = [compare(load) for load in loads]
    signals = dict.fromkeys(load.signal for load in loads)
    others = [
        average(compare(load, before=share * load.period) for load in loads) for share in EARLIER
    ]
    return {
        "seconds": loads[0].seconds,
        "curves": [_curve(load, each) for load, each in zip(loads, apart, strict=True)],
        "means": [{"signal": each, **_distance(_mean_of(each, loads, apart))} for each in signals],
        **_distance(average(apart)),
        "area_of_decisions": average(map(compare_decisions, loads)).area,
        "at_other_moments": [_distance(each) for each in others],
    }


def _mean_of(signal: str, loads: Sequence[Load], apart: Sequence[Distance]) -> Distance:
    pairs = zip(loads, apart, strict=True)
    return average(each for load, each in pairs if load.signal == signal)


def _curve(load: Load, apart: Distance) -> dict[str, Any]:
    behavior = "random" if load.curve.behavior else "default"
    return {"signal": load.signal, "behavior": behavior, **_distance(apart)}


def _distance(apart: Distance) -> dict[str, float]:
    hours = {"real_hours": apart.real / 3_600, "simulated_hours": apart.simulated / 3_600}
    return {**hours, "area": apart.area, "difference": apart.difference}


def hpa_table(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the controller's table."""
    curves, others = figures["curves"], figures["at_other_moments"]
    yield f"the real HPA controller, {len(curves)} curves of {figures['seconds']:g} s"
    titles = f"{'behavior':<10}{'replica-hours':>14}{'simulated':>11}{'difference':>12}{'area':>9}"
    yield f"{'by':<12}{titles}"
    for each in [*curves, *figures["means"], {**figures, "signal": "all"}]:
        yield (
            f"{each['signal']:<12}{each.get('behavior', 'mean'):<10}{each['real_hours']:>14.3f}"
            f"{each['simulated_hours']:>11.3f}{each['difference']:>+10.2f} %{each['area']:>7.2f} %"
        )
    yield f"goal: an area of {AREA_GOAL:g} %{', missed' * (figures['area'] > AREA_GOAL)}"
    yield f"if no sync took any time: an area of {figures['area_of_decisions']:.2f} %"
    yield (
        "syncs at other moments than the real ones: an area of"
        f" {mean(each['area'] for each in others):.1f} %, replica-hours"
        f" {_range([each['difference'] for each in others])}"
    )


def _range(percentages: Sequence[float]) -> str:
    return f"{min(percentages):+.1f} to {max(percentages):+.1f} %"


def wave_figures(recorded: Recording) -> dict[str, Any]:
    """Compare a recorded wave with its simulations, which are made with several seeds."""
    courses = [simulated(recorded, seed) for seed in range(1, SEEDS + 1)]
    end, real = recorded.seconds, recorded.course
    apart = [distance(real.replicas, each.replicas, 0.0, end) for each in courses]
    usual, slow = recorded.lead_time
    return {
        "seconds": end,
        "sessions": len(recorded.sessions),
        "lead_time": usual,
        "slow_lead_time": slow,
        **_distance(average(apart)),
        "differences": [each.difference for each in apart],
        "real": _course(real),
        "simulated": [_course(each) for each in courses],
    }


def _course(course: Course) -> dict[str, float]:
    return {
        "peak replicas": course.replicas.peak,
        "refused": course.refused,
        "cut": course.cut,
        "drained pods": len(course.drains),
        "median drain, s": median(course.drains or [0.0]),
        "longest drain, s": max(course.drains, default=0.0),
    }


def wave_table(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the wave's table."""
    simulations, real = figures["simulated"], figures["real"]
    yield f"our daemon on a real node, {figures['sessions']} users in {figures['seconds']:g} s"
    usual, slow = figures["lead_time"], figures["slow_lead_time"]
    yield f"half of the pods were Ready after {usual:.1f} s, 95 % after {slow:.1f} s"
    yield f"{'':<20}{'node':>10}{'simulated':>11}   with {len(simulations)} seeds"
    yield f"{'replica-hours':<20}{figures['real_hours']:>10.3f}{figures['simulated_hours']:>11.3f}"
    for name, value in real.items():
        values = [each[name] for each in simulations]
        spread = f"{min(values):.0f} to {max(values):.0f}"
        yield f"{name:<20}{value:>10.0f}{mean(values):>11.1f}   {spread}"
    missed = abs(figures["difference"]) > HOURS_GOAL
    yield (
        f"replica-hours {figures['difference']:+.1f} % ({_range(figures['differences'])}; goal"
        f" {HOURS_GOAL:g} %{', missed' * missed}), area {figures['area']:.1f} %"
    )
