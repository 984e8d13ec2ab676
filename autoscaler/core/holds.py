"""Holds: what keeps the replica count on purpose, such as partial data or a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from autoscaler.core import foreign_writers, staleness
from autoscaler.core.drain.plan import foreign_cost
from autoscaler.core.now import Now
from autoscaler.model import Observation, Reason, Recommendation, State, Step
from autoscaler.policy import Policy
from autoscaler.units import duration_text

# How long scale-downs pause after Kubernetes deleted a pod that was not drained, in seconds.
MISMATCH_REST = 600.0


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
        """Return the draft that keeps the present number because data is missing."""
        return Draft(self.current, self.current, (Step(reason, self.current, detail),), held=True)


def without_data(draft: Draft, votes: tuple[Recommendation, ...]) -> Draft:
    """Hold a scale-down that rests on partial data; a scale-up goes on."""
    partial = next((metric for metric in votes if not metric.complete), None)
    if partial is None or draft.replicas >= draft.current:
        return draft
    return draft.to(
        draft.current, Reason.PARTIAL_DATA, f"not scaling down on partial data: {partial.detail}"
    )


def in_rollout(draft: Draft, observed: Observation) -> Draft:
    """Hold a scale-down during a rollout: a Deployment shares it among its ReplicaSets."""
    if not observed.rollout_in_progress or draft.replicas >= draft.current:
        return draft
    reason, detail = Reason.ROLLOUT_IN_PROGRESS, "not scaling down: a rollout is in progress"
    if observed.paused:
        reason = Reason.ROLLOUT_PAUSED
        detail = (
            "not scaling down: the Deployment is paused (spec.paused) in a rollout; finish it with "
            "kubectl rollout resume"
        )
    return draft.to(draft.current, reason, detail)


def after_mismatch(draft: Draft, state: State, now: Now) -> Draft:
    """Hold scale-downs for a while after a pod other than the drained one was deleted."""
    at = state.mismatch_at
    if at is None or draft.replicas >= draft.current or now.has_passed(MISMATCH_REST, since=at):
        return draft
    left = duration_text(max(1, round(MISMATCH_REST - (now.at - at))))
    detail = (
        f"not scaling down for {left}: Kubernetes deleted a pod that had not been drained "
        "(see bokeh_autoscaler_victim_mismatches_total)"
    )
    return draft.to(draft.current, Reason.VICTIM_MISMATCH, detail)


def after_reset(draft: Draft, state: State, now: Now) -> Draft:
    """Hold scale-downs for a while after somebody else set the replica count or our labels."""
    detail = foreign_writers.pause(state, now)
    if not detail or draft.replicas >= draft.current:
        return draft
    return draft.to(draft.current, Reason.FOREIGN_WRITER, detail)


def without_label(draft: Draft, policy: Policy, observed: Observation) -> Draft:
    """Hold a scale-down while a pod lacks the label by which Services leave cordoned pods out.

    If the Deployment selects by the label, a cordoned pod no longer belongs to it.
    """
    bare = next((pod for pod in observed.pods if not pod.labelled and pod.is_active), None)
    if policy.drain is None or bare is None or draft.replicas >= draft.current:
        return draft
    detail = (
        f"not scaling down: pod {bare.name} cannot be cordoned. Add the label "
        'bokeh-autoscaler/routable: "true" to the pod template (not to the selector of the '
        "Deployment), wait for the rollout, and only then add it to the Service's selector"
    )
    return draft.to(draft.current, Reason.NOT_CORDONABLE, detail)


def on_stale_cache(draft: Draft, observed: Observation, state: State, now: Now) -> Draft:
    """Hold a scale-down that rests on a stale cache, and all scale-ups but the first one."""
    at = observed.confirmed_at
    if draft.replicas == draft.current or at is None or not staleness.is_cache_stale(at, now):
        return draft
    is_down, last = draft.replicas < draft.current, state.last_scale_up
    if not is_down and (last is None or last <= at):
        return draft
    detail = (
        f"not scaling {'down' if is_down else 'up again'}: the API server has not confirmed for "
        f"{duration_text(round(now.at - at))} what is known of the Deployment and its pods "
        "(see bokeh_autoscaler_cache_age_seconds)"
    )
    return draft.to(draft.current, Reason.STALE_CACHE, detail)


def doubts_what_serves(observed: Observation, state: State, now: Now) -> bool:
    """Whether no pod is put in reserve: a rollout, a stale cache, or somebody else sets the label.

    In a rollout new users belong on the new pods, which are the emptiest.
    """
    is_stale = staleness.is_cache_stale(observed.confirmed_at, now)
    return observed.rollout_in_progress or is_stale or bool(foreign_writers.pause(state, now))


def beside_other_autoscaler(draft: Draft, observed: Observation) -> Draft:
    """Hold while another autoscaler scales the target: the two would undo each other's changes."""
    if observed.other_autoscaler is None:
        return draft
    other = observed.other_autoscaler
    detail = f"not scaling: {other} scales this Deployment too; remove one of the two"
    step = Step(Reason.OTHER_AUTOSCALER, draft.current, detail)
    return draft._replace(replicas=draft.current, steps=(*draft.steps, step))


def pause_of(policy: Policy, observed: Observation) -> str | None:
    """Return who paused the target and why, in words; None while nobody has.

    A pause by either of the policy and the Deployment's annotation is enough.
    """
    if observed.pause is not None:
        why = "" if observed.pause == "true" else f": {observed.pause}"
        return f"the annotation bokeh-autoscaler/paused of the Deployment pauses it{why}"
    return "the policy says paused: true" if policy.paused else None


def while_paused(draft: Draft, policy: Policy, observed: Observation) -> Draft:
    """Hold in both directions while somebody has paused the target."""
    pause = pause_of(policy, observed)
    if pause is None:
        return draft
    step = Step(Reason.PAUSED, draft.current, f"not scaling: {pause}")
    return draft._replace(replicas=draft.current, steps=(*draft.steps, step))


def drains(policy: Policy, observed: Observation) -> bool:
    """Return whether pods are drained; if not, the daemon reverts the cordons that it made."""
    is_ours = observed.other_autoscaler is None and pause_of(policy, observed) is None
    return policy.drain is not None and is_ours


def blocking(
    policy: Policy,
    observed: Observation,
    metrics: tuple[Recommendation, ...],
    state: State,
    now: Now,
) -> Iterator[Step]:
    """Yield each hold that a scale-down meets now; a decision names only the first one."""
    current = observed.replicas
    lower = Draft(current, current - 1)
    yield from (Step(each.reason, current, each.detail) for each in metrics if each.problem)
    partial = (each for each in metrics if not each.complete and not each.problem)
    for held in (
        *(without_data(lower, (each,)) for each in partial),
        in_rollout(lower, observed),
        after_mismatch(lower, state, now),
        after_reset(lower, state, now),
        without_label(lower, policy, observed),
        on_stale_cache(lower, observed, state, now),
        beside_other_autoscaler(lower, observed),
        while_paused(lower, policy, observed),
    ):
        yield from held.steps
    if policy.drain is not None and (foreign := foreign_cost(observed.active, current)):
        yield foreign
