"""How a sidecar gets to trust the user of the app, without whom it counts no session exactly."""

from __future__ import annotations

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.manifests import container_yaml, kubectl, servers


def trusting_sidecar(facts: Facts, pod: Json, sidecar: Json) -> str:
    """Return how to see whom the sidecar of a pod does not trust, and how it gets to trust him."""
    name = pod["metadata"]["name"]
    kind = "containers" if sidecar in pod["spec"]["containers"] else "initContainers"
    return "\n".join(
        (
            "# the sidecar names a user that it does not trust, and the app tells its own:",
            kubectl(facts, f"logs {name} -c {sidecar['name']}"),
            kubectl(facts, f"exec {name} -c {servers(facts)[0]['name']} -- id -u"),
            "# if that is neither 0 nor 65532, write it in place of UID (docs/counting.md);",
            "# a sidecar that must run as its own user trusts it by --trusted-uids=UID:",
            container_yaml(sidecar, "securityContext: {runAsUser: UID}", kind=kind),
        )
    )
