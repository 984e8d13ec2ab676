"""Whether the app's agents take what the sidecar orders, which they do only from a trusted user."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.inspection import option, words
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, note, warning
from autoscaler.doctor.manifests import (
    apps,
    container_yaml,
    exporters,
    field_at,
    run_as,
    servers,
    template,
)
from exporter.agent.pod import IMAGE_UID, TRUSTED

ROOT = 0  # agents trust it without being told


def notices_not_taken(facts: Facts) -> Iterator[Finding]:
    """The agents in the app's container must trust the user of the sidecar."""
    spec = template(facts).get("spec") or {}
    of_sidecar = sidecar_user(spec, apps(facts), facts.exporter_port)
    for container in servers(facts):
        user = run_as(container, run_as(spec))
        if of_sidecar is None or not refuses(container, user, of_sidecar):
            continue
        make, who = (warning, f"user {user}") if user is not None else (note, "the image's user")
        yield make(
            "notices-not-taken",
            field_at(facts, f"spec.containers, {container['name']} as {who}, sidecar {of_sidecar}"),
            "Notices and questions are not shown, and no page that its app lets be closed is "
            "closed in a drain, because agents take them only from their own user, root or a "
            "trusted user."
            + ("" if user is not None else f" If the image's user is {of_sidecar}, all is right."),
            _fix(container, of_sidecar),
        )


def _fix(container: Json, uid: int) -> str:
    if named := option(words(container), "--trusted-uids"):  # the variable would have no effect
        return f"# of the launcher (docs/counting.md)\n--trusted-uids={named},{uid}"
    known = (trusting(container) or {}).get("value")
    uids = f"{known},{uid}" if known else uid
    return container_yaml(container, "env:", f'  - {{name: {TRUSTED}, value: "{uids}"}}')


def sidecar_user(spec: Json, beside: list[Json], port: int) -> int | None:
    """Return the UID of the sidecar in a pod's spec, or None if no container is one.

    beside: the containers of the app, whose launcher may serve the exporter's pages itself.
    """
    names = {each["name"] for each in beside}
    sidecars = [each for each in exporters(spec, port) if each["name"] not in names]
    return run_as(sidecars[0], run_as(spec, IMAGE_UID)) if sidecars else None


def refuses(container: Json, user: int | None, sidecar: int) -> bool:
    """Return whether the agents of the app's container take nothing from the sidecar's user.

    user: the UID of the container, or None if only its image says so, which then is taken for
    another one. A list of trusted users that the manifest does not show is taken for complete.
    """
    if sidecar in (ROOT, user):
        return False
    named = option(words(container), "--trusted-uids")
    if named is None:
        variable = trusting(container)
        named = "" if variable is None else variable.get("value")
    return named is not None and str(sidecar) not in named.replace(" ", "").split(",")


def trusting(container: Json) -> Json | None:
    """Return the container's variable with the trusted users, if it has one."""
    return next((each for each in container.get("env") or () if each["name"] == TRUSTED), None)
