"""Which decisions stand: a pass that sees the same as the last one need not decide again.

A decision says itself until when it holds (`Decision.holds_until`), which simulations ask too.
"""

from __future__ import annotations

from autoscaler.core.drain.pods import is_draining, is_marked
from autoscaler.model import Decision, Observation, State
from autoscaler.policy import Policy

# Two passes further apart than this are an outage of our own: what was remembered has a gap.
MAX_GAP = 60.0


def follows(policy: Policy, state: State, now: float) -> bool:
    """Return whether a pass now follows the last one without a gap in what is remembered."""
    return state.seen_at is not None and now - state.seen_at <= max(MAX_GAP, 3 * policy.interval)


def stands(policy: Policy, decision: Decision, state: State, now: float) -> bool:
    """Return whether a pass now that sees the same decides the same.

    state: what the last pass remembered.
    """
    return now < decision.holds_until and follows(policy, state, now)


def is_at_rest(decision: Decision, observed: Observation, state: State) -> bool:
    """Return whether a decision may stand: nothing is written, awaited, or told only once.

    A pod that is being drained ages with every answer of its sidecar, and what could end a session
    is decided anew in every pass.
    """
    plan = decision.drain
    is_quiet = not (decision.confirmed or decision.ended or decision.reset)
    is_settled = state.removal is None and not state.departing
    return (
        decision.desired == decision.current
        and (plan is None or not (plan.marks or plan.idle))
        and is_quiet
        and is_settled
        and not any(is_draining(pod) or is_marked(pod) for pod in observed.active)
    )
