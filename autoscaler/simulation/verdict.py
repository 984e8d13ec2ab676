"""What a simulation says of its policy, in one sentence, and what to change."""

from __future__ import annotations

from math import ceil

from autoscaler.policy import Policy, Spare
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.goals import own_goal
from autoscaler.simulation.score import Score
from autoscaler.units import Share, counted


def verdict(policy: Policy, assumptions: Assumptions, score: Score) -> str:
    """Return the verdict on a policy by its score."""
    harm, cut = _harm(score, assumptions.when_full), _cut(policy, score)
    goal = own_goal(policy)
    few = assumptions.when_full is WhenFull.REFUSE and not goal.missed(score)
    if harm and not few:
        harm = f"{harm}: {_remedy(policy, assumptions.seats, score)}"
    elif harm:
        harm = f"{harm}, within the goal of {goal.number:g} %"
    if cut or (harm and not few):
        return " ".join(filter(None, (harm, cut)))
    least = f", {score.regret:.0f} % above the least cost" if score.regret > 0 else ""
    return f"{harm or 'Every user got a seat'}, and no session was cut{least}."


def _harm(score: Score, when_full: WhenFull) -> str:
    """What happened to users who found no free seat; "" if nothing did."""
    match when_full:
        case WhenFull.REFUSE if score.refused:
            share = score.refused_percent
            told = f"{share:.0f} %" if share >= 1 else f"{share:.2g} %"
            return f"{told} of the users were refused"
        case WhenFull.WAIT if score.waited:
            return f"{counted(score.waited, 'user')} waited for a free seat"
        case WhenFull.OVERFILL if score.crowded_minutes:
            return f"pods had more sessions than seats for {score.crowded_minutes:,.0f} minutes"
    return ""


def _remedy(policy: Policy, seats: int, score: Score) -> str:
    """What gives those users a seat: a higher maximum, or pods that are there earlier."""
    highest = policy.replicas.max
    if score.peak_replicas < highest:
        return (
            f"replicas.max ({highest}) is not reached, but pods come too late. Keep more seats "
            "free (`spare`), or raise the minimum before the users come (`schedule`)."
        )
    demand = score.peak_sessions  # also of those who found no seat
    spare = max((_seats(each, demand) for each in policy.spares), default=0.0)
    needed = ceil((demand + spare) / seats)
    if needed > highest:
        return f"raise replicas.max from {highest} to {needed}."
    return f"raise replicas.max, which is reached, above {highest}."


def _seats(spare: Spare, demand: int) -> float:
    """Seats that are kept free at that demand, if they are stated."""
    match spare:
        case int():
            return spare
        case Share(percent):
            return demand * percent / 100.0
    return 0.0


def _cut(policy: Policy, score: Score) -> str:
    if not score.cut:
        return ""
    return f"{counted(score.cut, 'session')} cut by scaling down: {_less_cut(policy)}."


def _less_cut(policy: Policy) -> str:
    """What ends fewer sessions."""
    if policy.drain is None:
        return "remove `drain: none`"
    return f"set a longer drain.{'deadline' if policy.deadlines else 'hardDeadline'}"
