"""The steps by which the daemon takes over from an HPA or a ScaledObject of KEDA. Pure.

The other autoscaler scales the first Deployment until no new users come to it. After that its load
only falls, and it would delete pods whose users are still connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from autoscaler.adoption import daemon_files as files
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, kubectl
from autoscaler.doctor.autoscalers import autoscalers_of

# Otherwise KEDA sets the replicas to those from before the ScaledObject, which ends sessions.
_NO_RESTORE = (
    """patch scaledobject {} --type=merge --patch '{{"spec": {{"advanced": """
    """{{"restoreToOriginalReplicaCount": false}}}}}}'"""
)


def converting(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how the policy is made of another autoscaler, if there is one."""
    for kind, name, _ in autoscalers_of(adoption.app.facts):
        saved, made = _saved(folder, name), f"{folder}/converted.yaml"
        convert = (
            f"autoscaler convert {quote(saved)} --seats {adoption.choices.seats} "
            f"--deployment {adoption.name} --name {files.policy_name(adoption)} "
            f"--output {quote(made)}"
        )
        place, by_hand = f"{folder}/{files.policy_file(adoption)}", adoption.choices.helm
        use = (
            f"write the content of {made} into {folder}/{files.VALUES}, as the item of `policies`"
            if by_hand
            else f"the last command puts it in place of {place}"
        )
        yield Step(
            f"Make the policy of {kind} {name}",
            f"`autoscaler convert` takes its bounds, its metrics and its behavior, with "
            f"{adoption.name} as the target, and prints what a policy cannot say. Read the "
            f"comments of the policy: {use}. The {kind} stays as it is until a later step deletes "
            "it.",
            (
                kubectl(adoption, f"get {kind.lower()} {name} -o yaml > {quote(saved)}"),
                convert,
                *([] if by_hand else [f"mv {quote(made)} {quote(place)}"]),
            ),
        )


def deleting(adoption: Adoption) -> Iterator[Step]:
    """Yield how the other autoscaler is deleted, at the last moment at which it does no harm."""
    why = (
        "The daemon scales nothing as long as it exists."
        if adoption.choices.in_place
        else "Until now it scaled the old pods. After the next step their load only falls, and it "
        "would delete pods whose users are still connected. The old pods stay as many as they are "
        "now, so go on with the next step at once."
    )
    for kind, name, _ in autoscalers_of(adoption.app.facts):
        first = [_NO_RESTORE.format(name)] if kind == "ScaledObject" else []
        yield Step(
            f"Delete {kind} {name}",
            f"{why} If Argo CD, Flux or Helm applies it, remove it there too: otherwise it comes "
            "back.",
            tuple(kubectl(adoption, each) for each in (*first, f"delete {kind.lower()} {name}")),
        )


def restoring(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how the other autoscaler comes back, on the way back."""
    for kind, name, _ in autoscalers_of(adoption.app.facts):
        yield Step(
            f"Create {kind} {name} again",
            "From here on it scales the app, as before the adoption.",
            (f"kubectl apply -f {quote(_saved(folder, name))}",),
        )


def _saved(folder: str, name: str) -> str:
    return f"{folder}/autoscaler-{name}.yaml"
