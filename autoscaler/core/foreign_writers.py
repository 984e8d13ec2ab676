"""Somebody else who sets the replica count, or gives a cordoned pod its label back.

`kubectl apply`, Argo CD, Flux and Helm write what a manifest says, again and again. Against them a
scale-down would be undone or, worse, be carried out by their number in place of the drained pods.
"""

from __future__ import annotations

from autoscaler.core.now import Now
from autoscaler.model import Observation, Reset, State
from autoscaler.units import duration_text

# Argo CD looks at its manifests again every three minutes, Flux every ten.
RESET_REST = 600.0


def follow(state: State, observed: Observation, now: Now) -> State:
    """The state after a pass that saw this replica count and these labels."""
    reset = _of_replicas(state, observed, now.at) or _of_label(observed, now.at) or state.reset
    if reset is not None and now.has_passed(RESET_REST, since=reset.at):
        reset = None
    if reset == state.reset and observed.replicas == state.replicas_seen:
        return state
    return state._replace(reset=reset, replicas_seen=observed.replicas)


def expect(state: State, observed: Observation) -> State:
    """The state after a pass in which others may set the replica count."""
    seen = observed.replicas
    return state if seen == state.replicas_seen else state._replace(replicas_seen=seen)


def pause(state: State, now: Now) -> str:
    """Why nothing is scaled down because of somebody else's write, or ""."""
    if state.reset is None or now.has_passed(RESET_REST, since=state.reset.at):
        return ""
    left = duration_text(max(1, round(RESET_REST - (now.at - state.reset.at))))
    return f"not scaling down for {left}: {state.reset.what}"


def _of_replicas(state: State, observed: Observation, now: float) -> Reset | None:
    before, after = state.replicas_seen, observed.replicas
    if before is None or before == after or not observed.replicas_writer:
        return None
    who = observed.replicas_writer
    return Reset(f"{who} set spec.replicas from {before} to {after}", now)


def _of_label(observed: Observation, now: float) -> Reset | None:
    """Our note is still there, and the label is no longer what we made it."""
    for pod in observed.pods:
        if pod.cordon is not None and pod.routable and pod.label_writer and pod.is_active:
            who = pod.label_writer.partition(" ")[0]
            words = f"{who} set the label bokeh-autoscaler/routable of {pod.name} back"
            return Reset(words, now)
    return None
