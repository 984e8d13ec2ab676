"""The pipeline: one policy, what was observed, what was remembered, and the time, to a decision.

Read `decide` from top to bottom: it is the documentation of the order. Each step either lets the
number pass or moves it and leaves a `Step` that says why. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

from autoscaler.core import foreign_writers, holds, schedule, sessions, starts
from autoscaler.core.drain import ages, cleanup, departures, sightings
from autoscaler.core.drain.confirm import confirm_removal, expect_removal
from autoscaler.core.drain.packing import Landing
from autoscaler.core.drain.plan import plan_drain
from autoscaler.core.holds import Draft
from autoscaler.core.hpa import behavior
from autoscaler.core.now import Now
from autoscaler.core.recommendations import recommendations
from autoscaler.core.schedule import Bounds
from autoscaler.core.standing import follows
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
from autoscaler.units import counted, duration_text

# The longest that a window can look back (HPA's limit).
LONGEST_WINDOW = 3_600.0
# Sessions decide clearly if no other metric asks for more than this share of the replicas.
CLEARLY = 0.8


def decide(
    policy: Policy, observed: Observation, state: State | None, at: float
) -> tuple[Decision, State]:
    """The replica count that the policy asks for now, and what to remember for the next pass.

    state None: this target is seen for the first time. at: the time in Unix seconds. Pure; never
    raises for bad data, which holds the present number with the reason. Call `record_scaling` after
    the change was made.
    """
    now = Now(at)
    state = _remember_seeing(policy, observed, state, at)
    confirmed, state = _confirm_removal(observed, state, at)
    ended, state = departures.follow(state, observed)
    state = _remember_pods(policy, observed, state, at)
    state, reset = _remember_resets(policy, observed, state, now)
    current = observed.replicas
    decision = Decision(current, current, confirmed=confirmed, ended=ended, reset=reset)
    if current == 0:
        held = Step(Reason.SCALING_DISABLED, 0, "scaling is disabled: spec.replicas is 0")
        steps = holds.while_paused(Draft(0, 0, (held,)), policy, observed).steps
        return decision._replace(steps=steps, holds_until=now.holds_until), state
    effective = schedule.effective(policy, now)
    policy, bounds = effective.policy, effective.bounds
    metrics, state = recommendations(policy, observed, state, now)

    votes = _votes(policy, metrics, current)

    draft = _combine(votes, observed)
    draft, state = _fallback(draft, metrics, policy, state, now)
    needed = draft.least if draft.held else draft.replicas
    needed = None if needed is None else min(max(needed, bounds.min), bounds.max)
    draft = holds.without_data(draft, votes)
    draft = _follow_schedule(draft, bounds)
    draft, state = _stabilize(draft, policy, state, now)
    draft = _limit_rate(draft, policy, bounds, state, now)
    draft = _cool_down(draft, policy, state, now)
    draft = _keep_bounds(draft, bounds)
    draft = holds.in_rollout(draft, observed)
    draft = holds.after_mismatch(draft, state, now)
    draft = holds.after_reset(draft, state, now)
    draft = holds.without_label(draft, policy, observed)
    draft = holds.on_stale_cache(draft, observed, state, now)
    draft = holds.beside_other_autoscaler(draft, observed)
    draft = holds.while_paused(draft, policy, observed)
    landing = _landing(policy, votes, observed, state, bounds, now)
    draft, plan = _drain(draft, needed, landing, policy, observed, state, bounds, now)
    if plan is not None and plan.named != state.told:
        state = state._replace(told=plan.named)
    return decision._replace(
        desired=draft.replicas,
        steps=(*effective.steps(current), *draft.steps),
        recommendations=metrics,
        drain=plan,
        holds_until=now.holds_until,
    ), state


def record_removal(state: State, decision: Decision, observed: Observation, now: float) -> State:
    """Remember which pods a scale-down that took effect removes; later passes confirm that."""
    if decision.drain is None or not decision.drain.remove:
        return state
    state = departures.begin(state, decision.drain.remove, now)
    return state._replace(removal=expect_removal(decision.drain.remove, observed, now))


def record_scaling(state: State, policy: Policy, before: int, after: int, now: float) -> State:
    """Remember a change that took effect, for rate policies and cooldowns."""
    events = behavior.Events()
    if policy.behavior is not None:
        events = behavior.Events(state.scale_ups, state.scale_downs)
        events = behavior.record_change(events, policy.behavior, after - before, now)
    state = state._replace(scale_ups=events.ups, scale_downs=events.downs, replicas_seen=after)
    if after > before:
        return state._replace(last_scale_up=now)
    return state._replace(last_scale_down=now)


def _remember_seeing(
    policy: Policy, observed: Observation, state: State | None, now: float
) -> State:
    """At first sight, and after a gap, the present number counts as recommended.

    So a restart, or an outage of ours, delays scale-downs by one window, as a restart of HPA does.
    """
    state = state or State()
    if follows(policy, state, now):
        return state._replace(seen_at=now)
    log = tuple(entry for entry in state.recommendations if entry.at > now - LONGEST_WINDOW)
    return state._replace(seen_at=now, recommendations=(*log, Logged(observed.replicas, now)))


def _remember_pods(policy: Policy, observed: Observation, state: State, now: float) -> State:
    """What is seen of the pods from pass to pass: how they start, and the times of a drain."""
    state = _remember_starts(observed, state)
    if policy.drain is None:
        return state
    seen = sightings.follow(state.sightings, observed.active, now)
    short = sightings.follow_shortage(state.shortage, observed.active, observed.replicas, now)
    known = ages.follow(state.ages, observed.active, now)
    if seen == state.sightings and short == state.shortage and known is state.ages:
        return state
    return state._replace(sightings=seen, shortage=short, ages=known)


def _remember_starts(observed: Observation, state: State) -> State:
    after = starts.follow(state.starts, observed.active)
    return state if after is state.starts else state._replace(starts=after)


def _remember_resets(
    policy: Policy, observed: Observation, state: State, now: Now
) -> tuple[State, str]:
    """Notice what somebody else wrote over; the words for it in the pass that sees it first.

    While the target is paused, others are expected to scale it.
    """
    if holds.pause_of(policy, observed) is not None:
        return foreign_writers.expect(state, observed), ""
    after = foreign_writers.follow(state, observed, now)
    is_news = after.reset is not None and after.reset != state.reset
    return after, after.reset.what if is_news and after.reset is not None else ""


def _confirm_removal(
    observed: Observation, state: State, now: float
) -> tuple[Confirmation | None, State]:
    """Find out how the last scale-down ended."""
    if state.removal is None:
        return None, state
    confirmed = confirm_removal(state.removal, observed)
    if confirmed is None:
        return None, state
    mismatch_at = now if confirmed.mismatch else state.mismatch_at
    if confirmed.mismatch:
        state = departures.begin_unchosen(state, state.removal, observed, now)
    return confirmed, state._replace(removal=None, mismatch_at=mismatch_at)


def _combine(votes: tuple[Recommendation, ...], observed: Observation) -> Draft:
    """Take the largest number of all metrics; a metric that failed holds scale-downs only."""
    current = observed.replicas
    draft = Draft(current, current)
    failed = next((metric for metric in votes if metric.replicas is None), None)
    highest = max([-1 if metric.replicas is None else metric.replicas for metric in votes])
    if failed is not None and highest < current:
        return draft.hold(failed.reason, f"holding {counted(current, 'replica')}: {failed.detail}")
    winner = next(metric for metric in votes if metric.replicas == highest)
    is_above = highest > current
    reason = Reason.METRIC_ABOVE_TARGET if is_above else Reason.METRIC_BELOW_TARGET
    return draft.to(highest, reason, winner.detail)


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
    now: Now,
) -> tuple[Draft, State]:
    """Blind for longer than `fallback.after`: at least the fallback, never below the present."""
    if any(metric.replicas is not None for metric in metrics):
        return draft, state if state.blind_since is None else state._replace(blind_since=None)
    since = now.at if state.blind_since is None else state.blind_since
    state = state._replace(blind_since=since)
    fallback = policy.fallback
    if fallback is None or not now.has_passed(fallback.after, since):
        return draft, state
    least = counted(fallback.replicas, "replica")
    detail = f"no metric for {duration_text(now.at - since)}: falling back to {least}"
    draft = draft._replace(least=fallback.replicas)
    return draft.to(max(draft.replicas, fallback.replicas), Reason.FALLBACK, detail), state


def _follow_schedule(draft: Draft, bounds: Bounds) -> Draft:
    """The calendar's bounds enter before the windows, so their end is smoothed like any load."""
    if bounds.min_scheduled and draft.replicas < bounds.min:
        detail = f"the schedule asks for at least {bounds.min} replicas now"
        return draft.to(bounds.min, Reason.SCHEDULED_MINIMUM, detail)
    if bounds.max_scheduled and draft.replicas > bounds.max:
        detail = f"the schedule allows at most {bounds.max} replicas now"
        return draft.to(bounds.max, Reason.SCHEDULED_MAXIMUM, detail)
    return draft


def _stabilize(draft: Draft, policy: Policy, state: State, now: Now) -> tuple[Draft, State]:
    log, wanted = state.recommendations, draft.replicas
    if log and log[-1].replicas == wanted:  # of a repeated number only the last time counts
        log = log[:-1]
    if policy.behavior is None:
        kept, log = behavior.stabilize_down(wanted, log, now)
        window = behavior.DOWN_WINDOW
    else:
        kept, log = behavior.stabilize(wanted, draft.current, log, now, policy.behavior)
        window = behavior.windows(policy.behavior)[wanted < kept]
    state = state._replace(recommendations=log)
    if draft.held or kept == wanted:
        return draft, state
    reason = Reason.SCALE_DOWN_STABILIZED if kept > wanted else Reason.SCALE_UP_STABILIZED
    detail = (
        f"{counted(wanted, 'replica')} wanted, held at {kept} by the {duration_text(window)} "
        "stabilization window"
    )
    return draft.to(kept, reason, detail), state


def _limit_rate(draft: Draft, policy: Policy, bounds: Bounds, state: State, now: Now) -> Draft:
    """Apply HPA's rate policies if the policy has a behavior stanza; else nothing limits it."""
    if policy.behavior is None:
        return draft
    events = behavior.Events(state.scale_ups, state.scale_downs)
    limited = behavior.limit_rate(
        draft.replicas, draft.current, (bounds.min, bounds.max), policy.behavior, events, now
    )
    if limited.reason in (Reason.TOO_FEW_REPLICAS, Reason.TOO_MANY_REPLICAS):
        return _keep_bounds(draft, bounds)  # not the rate, which would allow more than a bound
    allowed = limited.replicas
    detail = f"{counted(draft.replicas, 'replica')} wanted, the rate policy allows {allowed}"
    return draft.to(allowed, limited.reason, detail)


def _cool_down(draft: Draft, policy: Policy, state: State, now: Now) -> Draft:
    """Hold a scale-up after a scale-up, and a scale-down after any change."""
    if draft.replicas > draft.current:
        last, rest, reason = state.last_scale_up, policy.cooldown.up, Reason.COOLDOWN_UP
    else:
        changes = (state.last_scale_up, state.last_scale_down)
        last = max((at for at in changes if at is not None), default=None)
        rest, reason = policy.cooldown.down, Reason.COOLDOWN_DOWN
    if last is None or draft.replicas == draft.current or now.has_passed(rest, since=last):
        return draft
    left = duration_text(round(rest - (now.at - last)))
    detail = f"{counted(draft.replicas, 'replica')} wanted, the cooldown lasts {left} more"
    return draft.to(draft.current, reason, detail)


def _keep_bounds(draft: Draft, bounds: Bounds) -> Draft:
    if draft.replicas < bounds.min:
        detail = f"{counted(draft.replicas, 'replica')} wanted, the minimum is {bounds.min}"
        return draft.to(bounds.min, Reason.TOO_FEW_REPLICAS, detail)
    if draft.replicas > bounds.max:
        detail = f"{counted(draft.replicas, 'replica')} wanted, the maximum is {bounds.max}"
        return draft.to(bounds.max, Reason.TOO_MANY_REPLICAS, detail)
    return draft


def _landing(
    policy: Policy,
    votes: tuple[Recommendation, ...],
    observed: Observation,
    state: State,
    bounds: Bounds,
    now: Now,
) -> Landing | None:
    """What new users need of the open pods; None where all pods shall be open to them.

    So it is where another metric asks for more replicas than sessions do, or has no number, because
    the pods with the most sessions may then be the busiest; and at the minimum, where packing saves
    no replica. Where another metric asks for nearly as many, no pod is put in reserve, so that a
    metric that varies does not open and close pods each time.
    """
    packing, metric, traffic = policy.packing, policy.sessions, state.traffic
    if packing is None or metric is None or traffic is None or not traffic.known:
        return None
    own = next(each.replicas for each in votes if each.metric == "sessions")
    others = [each.replicas for each in votes if each.metric != "sessions"]
    if own is None or any(asked is None or asked > own for asked in others):
        return None
    if observed.replicas <= bounds.min:
        return None
    delay = sessions.seen_after(policy, observed.fresh_for)
    count = sessions.connected(observed.active, metric.seats, now, observed.fresh_for)
    seats = sessions.landing_seats(metric, count.sessions, traffic, delay, now, count.cost)
    least = packing.min_routable or min(2, policy.replicas.min)
    decides = all((asked or 0) < CLEARLY * own for asked in others)
    return Landing(seats, least, decides and not holds.doubts_what_serves(observed, state, now))


def _drain(
    draft: Draft,
    needed: int | None,
    landing: Landing | None,
    policy: Policy,
    observed: Observation,
    state: State,
    bounds: Bounds,
    now: Now,
) -> tuple[Draft, DrainPlan | None]:
    """Scale down by cordoned and drained pods only, unless the policy says `drain: none`."""
    if policy.drain is None or not holds.drains(policy, observed):
        protects = policy.drain is not None and observed.other_autoscaler is None
        changes = cleanup.released(observed.pods, observed.replicas, now, protects=protects)
        return draft, DrainPlan(draft.replicas, changes) if changes else None
    wanted = draft.replicas if state.removal is None else max(draft.replicas, draft.current)
    plan = plan_drain(policy, policy.drain, observed, wanted, needed, bounds, state, now, landing)
    draft = draft._replace(replicas=plan.replicas, steps=(*draft.steps, *plan.steps))
    draft = holds.on_stale_cache(draft, observed, state, now)
    return draft, plan._replace(replicas=draft.replicas)
