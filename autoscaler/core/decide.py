"""The pipeline: one policy, what was observed, what was remembered, and the time, to a decision.

Read `decide` from top to bottom: it is the documentation of the order. Each step either lets the
number pass or moves it and leaves a `Step` that says why. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from autoscaler.core import behavior, drain, hpa, removal, schedule, tidying
from autoscaler.core.metrics import recommendations
from autoscaler.core.schedule import Bounds
from autoscaler.model import (
    Confirmation,
    Decision,
    DrainPlan,
    Logged,
    Observation,
    Reason,
    Recommendation,
    State,
    Step,
)
from autoscaler.policy import MemoryMetric, Policy
from autoscaler.quantities import duration_text

# Two passes further apart than this are an outage of our own: what was remembered has a gap.
MAX_GAP = 60.0
# After another pod went than was chosen, nothing shrinks for so long: somebody should look.
MISMATCH_REST = 600.0
# The longest that a window can look back (HPA's limit).
LONGEST_WINDOW = 3_600.0


class Draft(NamedTuple):
    """A number on its way through the pipeline, with what moved it so far.

    held: no metric gave a number, so the present one stays on purpose. least: what is needed then
    all the same, if anything is.
    """

    current: int
    replicas: int
    steps: tuple[Step, ...] = ()
    held: bool = False
    least: int | None = None

    def to(self, replicas: int, reason: Reason, detail: str) -> Draft:
        """The draft with another number and the reason for it; unchanged if it is the same."""
        if replicas == self.replicas:
            return self
        return self._replace(replicas=replicas, steps=(*self.steps, Step(reason, replicas, detail)))

    def hold(self, reason: Reason, detail: str) -> Draft:
        """The draft that keeps the present number for want of data."""
        return Draft(self.current, self.current, (Step(reason, self.current, detail),), held=True)


def decide(
    policy: Policy, observed: Observation, state: State | None, now: float
) -> tuple[Decision, State]:
    """The replica count that the policy asks for now, and what to remember for the next pass.

    state None: this target is seen for the first time. Pure; never raises for bad data, which
    holds the present number with the reason. Call `record_scaling` after the change was made.
    """
    state = _remember_seeing(policy, observed, state, now)
    confirmed, state = _confirm_removal(observed, state, now)
    if observed.replicas == 0:
        held = Step(Reason.SCALING_DISABLED, 0, "scaled to 0 by hand: not touched")
        return Decision(0, 0, (held,)), state
    metrics, state = recommendations(policy, observed, state, now)
    bounds = schedule.bounds(policy, now)

    votes = _votes(policy, metrics, observed.replicas)

    draft = _combine(votes, observed)
    draft, state = _fallback(draft, metrics, policy, state, now)
    needed = draft.least if draft.held else draft.replicas
    needed = None if needed is None else min(max(needed, bounds.min), bounds.max)
    draft = _hold_shrink_without_data(draft, votes)
    draft = _hold_shrink_in_rollout(draft, observed)
    draft = _hold_shrink_after_mismatch(draft, state, now)
    draft = _follow_schedule(draft, bounds)
    draft, state = _stabilize(draft, policy, state, now)
    draft = _limit_rate(draft, policy, bounds, state, now)
    draft = _cool_down(draft, policy, state, now)
    draft = _keep_bounds(draft, bounds)
    draft = _hold_beside_rival(draft, observed)
    draft, plan = _drain(draft, needed, policy, observed, state, bounds, now)
    current, desired = observed.replicas, draft.replicas
    return Decision(current, desired, draft.steps, metrics, plan, confirmed), state


def record_removal(state: State, decision: Decision, observed: Observation, now: float) -> State:
    """Remember whom a shrink that took effect is to remove; the passes after it look for that."""
    if decision.drain is None or not decision.drain.remove:
        return state
    return replace(state, removal=removal.removal(decision.drain.remove, observed, now))


def record_scaling(state: State, policy: Policy, before: int, after: int, now: float) -> State:
    """Remember a change that took effect, for rate policies and cooldowns."""
    events = behavior.Events()
    if policy.behavior is not None:
        events = behavior.Events(state.scale_ups, state.scale_downs)
        events = behavior.record_change(events, policy.behavior, after - before, now)
    state = replace(state, scale_ups=events.ups, scale_downs=events.downs)
    if after > before:
        return replace(state, last_scale_up=now)
    return replace(state, last_scale_down=now)


def _remember_seeing(
    policy: Policy, observed: Observation, state: State | None, now: float
) -> State:
    """At first sight, and after a gap, the present number counts as recommended.

    So a restart, or an outage of ours, freezes the shrink for one window, as HPA's restart does.
    """
    state = state or State()
    gap = max(MAX_GAP, 3 * policy.interval)
    if state.seen_at is not None and now - state.seen_at <= gap:
        return replace(state, seen_at=now)
    log = tuple(entry for entry in state.recommendations if entry.at > now - LONGEST_WINDOW)
    return replace(state, seen_at=now, recommendations=(*log, Logged(observed.replicas, now)))


def _confirm_removal(
    observed: Observation, state: State, now: float
) -> tuple[Confirmation | None, State]:
    """See how the last shrink ended."""
    if state.removal is None:
        return None, state
    confirmed = removal.confirm(state.removal, observed)
    if confirmed is None:
        return None, state
    mismatch_at = now if confirmed.mismatch else state.mismatch_at
    return confirmed, replace(state, removal=None, mismatch_at=mismatch_at)


def _combine(votes: tuple[Recommendation, ...], observed: Observation) -> Draft:
    """The largest number of all metrics; one that failed blocks the way down, never up."""
    current = observed.replicas
    draft = Draft(current, current)
    combined = hpa.combine([_vote(metric) for metric in votes], current)
    if isinstance(combined, Reason):
        failed = next(metric for metric in votes if metric.problem)
        return draft.hold(combined, f"hold: {failed.detail}")
    winner = next(metric for metric in votes if metric.replicas == combined)
    return draft.to(combined, winner.reason, winner.detail)


def _vote(metric: Recommendation) -> int | Reason:
    return metric.reason if metric.replicas is None else metric.replicas


def _votes(
    policy: Policy, metrics: tuple[Recommendation, ...], current: int
) -> tuple[Recommendation, ...]:
    """All metrics, less memory where it would only keep replicas that another can let go.

    Servers rarely give memory back: with 75 % of the users gone a pod may hold 99 % of its peak.
    """
    others = tuple(
        recommendation
        for metric, recommendation in zip(policy.metrics, metrics, strict=True)
        if not (isinstance(metric, MemoryMetric) and (recommendation.replicas or 0) <= current)
    )
    return others or metrics


def _fallback(
    draft: Draft,
    metrics: tuple[Recommendation, ...],
    policy: Policy,
    state: State,
    now: float,
) -> tuple[Draft, State]:
    """Blind for longer than `fallback.after`: at least the fallback, never below the present."""
    if any(metric.replicas is not None for metric in metrics):
        return draft, state if state.blind_since is None else replace(state, blind_since=None)
    since = now if state.blind_since is None else state.blind_since
    state = replace(state, blind_since=since)
    fallback = policy.fallback
    if fallback is None or now - since < fallback.after:
        return draft, state
    detail = f"no metric for {duration_text(now - since)}: fallback to {fallback.replicas}"
    draft = draft._replace(least=fallback.replicas)
    return draft.to(max(draft.replicas, fallback.replicas), Reason.FALLBACK, detail), state


def _hold_shrink_without_data(draft: Draft, votes: tuple[Recommendation, ...]) -> Draft:
    """Partial data may add replicas, never remove them."""
    partial = next((metric for metric in votes if not metric.complete), None)
    if partial is None or draft.replicas >= draft.current:
        return draft
    return draft.to(draft.current, Reason.PARTIAL_DATA, f"hold: {partial.detail}")


def _hold_shrink_in_rollout(draft: Draft, observed: Observation) -> Draft:
    if not observed.rollout_in_progress or draft.replicas >= draft.current:
        return draft
    detail = "hold: a rollout is in progress, only growth is allowed"
    return draft.to(draft.current, Reason.ROLLOUT_IN_PROGRESS, detail)


def _hold_shrink_after_mismatch(draft: Draft, state: State, now: float) -> Draft:
    at = state.mismatch_at
    if at is None or now - at >= MISMATCH_REST or draft.replicas >= draft.current:
        return draft
    detail = "hold: a pod went that was not chosen; see bokeh_autoscaler_victim_mismatches_total"
    return draft.to(draft.current, Reason.VICTIM_MISMATCH, detail)


def _hold_shrink_without_label(draft: Draft, observed: Observation) -> Draft:
    """Services cannot leave out a pod that lacks the label, so users would come to the victim.

    Where the Deployment selects by it, a cordoned pod would be no pod of it any more.
    """
    bare = next((pod for pod in observed.pods if not pod.labelled and not pod.deleting), None)
    if bare is None or draft.replicas >= draft.current:
        return draft
    detail = (
        f"hold: pod {bare.name} cannot be left out for new users: add the label "
        "bokeh-autoscaler/routable to the pod template and to the Service's selector, and not to "
        "the Deployment's own selector"
    )
    return draft.to(draft.current, Reason.NOT_CORDONABLE, detail)


def _follow_schedule(draft: Draft, bounds: Bounds) -> Draft:
    """The calendar's bounds enter before the windows, so their end is smoothed like any load."""
    if bounds.min_scheduled and draft.replicas < bounds.min:
        detail = f"schedule: at least {bounds.min} now"
        return draft.to(bounds.min, Reason.SCHEDULED_MINIMUM, detail)
    if bounds.max_scheduled and draft.replicas > bounds.max:
        detail = f"schedule: at most {bounds.max} now"
        return draft.to(bounds.max, Reason.SCHEDULED_MAXIMUM, detail)
    return draft


def _stabilize(draft: Draft, policy: Policy, state: State, now: float) -> tuple[Draft, State]:
    log, wanted = state.recommendations, draft.replicas
    if policy.behavior is None:
        kept, log = behavior.stabilize_down(wanted, log, now)
        window = behavior.DOWN_WINDOW
    else:
        kept, log = behavior.stabilize(wanted, draft.current, log, now, policy.behavior)
        window = behavior.windows(policy.behavior)[wanted < kept]
    state = replace(state, recommendations=log)
    if draft.held:
        return draft, state
    reason = Reason.SCALE_DOWN_STABILIZED if kept > wanted else Reason.SCALE_UP_STABILIZED
    detail = f"{wanted} wanted, {kept} by the window of {duration_text(window)}"
    return draft.to(kept, reason, detail), state


def _limit_rate(draft: Draft, policy: Policy, bounds: Bounds, state: State, now: float) -> Draft:
    """HPA's rate policies, where the policy has a behavior stanza; else growth is not limited."""
    if policy.behavior is None:
        return draft
    events = behavior.Events(state.scale_ups, state.scale_downs)
    limited = behavior.limit_rate(
        draft.replicas, draft.current, (bounds.min, bounds.max), policy.behavior, events, now
    )
    return draft.to(
        limited.replicas, limited.reason, f"{draft.replicas} limited to {limited.replicas}"
    )


def _cool_down(draft: Draft, policy: Policy, state: State, now: float) -> Draft:
    """Rest after a change: up after growth, down after any change."""
    if draft.replicas > draft.current:
        last, rest, reason = state.last_scale_up, policy.cooldown.up, Reason.COOLDOWN_UP
    else:
        changes = (state.last_scale_up, state.last_scale_down)
        last = max((at for at in changes if at is not None), default=None)
        rest, reason = policy.cooldown.down, Reason.COOLDOWN_DOWN
    if last is None or now - last >= rest:
        return draft
    left = duration_text(round(rest - (now - last)))
    return draft.to(draft.current, reason, f"{draft.replicas} wanted, cooldown for {left} more")


def _keep_bounds(draft: Draft, bounds: Bounds) -> Draft:
    if draft.replicas < bounds.min:
        detail = f"{draft.replicas} wanted, at least {bounds.min}"
        return draft.to(bounds.min, Reason.TOO_FEW_REPLICAS, detail)
    if draft.replicas > bounds.max:
        detail = f"{draft.replicas} wanted, at most {bounds.max}"
        return draft.to(bounds.max, Reason.TOO_MANY_REPLICAS, detail)
    return draft


def _hold_beside_rival(draft: Draft, observed: Observation) -> Draft:
    """Two autoscalers undo each other's work, and HPA picks its victims blindly."""
    if observed.rival is None:
        return draft
    detail = f"hold: {observed.rival} scales this Deployment too: remove one of the two"
    step = Step(Reason.OTHER_AUTOSCALER, draft.current, detail)
    return draft._replace(replicas=draft.current, steps=(*draft.steps, step))


def _drain(
    draft: Draft,
    needed: int | None,
    policy: Policy,
    observed: Observation,
    state: State,
    bounds: Bounds,
    now: float,
) -> tuple[Draft, DrainPlan | None]:
    """A shrink goes by cordoned and emptied pods, unless the policy says `drain: none`."""
    if policy.drain is None or observed.rival is not None:
        notes = tidying.released(observed.pods, observed.replicas, now)
        return draft, DrainPlan(draft.replicas, notes) if notes else None
    # A lower maximum waits too: a Deployment shares a shrink among its ReplicaSets.
    draft = _hold_shrink_in_rollout(draft, observed)
    draft = _hold_shrink_after_mismatch(draft, state, now)
    draft = _hold_shrink_without_label(draft, observed)
    wanted = draft.replicas if state.removal is None else max(draft.replicas, draft.current)
    plan = drain.plan(policy, policy.drain, observed, wanted, needed, bounds, now)
    return draft._replace(replicas=plan.replicas, steps=(*draft.steps, *plan.steps)), plan
