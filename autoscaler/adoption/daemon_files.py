"""The files by which daemon and Prometheus learn of the app, by their paths in the folder. Pure.

Each app has a component of its own, and each namespace one for Prometheus, so that an overlay of
the daemon has those of any number of apps. Their objects have names of their own too.
"""

from __future__ import annotations

import json
from typing import Any

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.yaml_writing import block_text, flow_text
from autoscaler.adapters.shipped import Shipped
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.writing import KUSTOMIZATION, component
from autoscaler.policy.fields import MAX_REPLICAS

VALUES = "values.yaml"
_POLICY, _RIGHTS, _NETWORK = "policy.yaml", "rights.yaml", "network.yaml"
# Where the manifests that we ship let the daemon scale, and where the daemon is.
SHIPPED_NAMESPACE, DAEMON_NAMESPACE = "bokeh", "bokeh-autoscaler"
POLICIES = "bokeh-autoscaler-policies"  # the ConfigMap
_ROLE = "/rules/3/resources/0", "/rules/3/resourceNames/-"  # of the manifests that we ship
_DECIDE = (
    "Decide how many sessions one pod may hold. Seats are kept free for those who come while a new",
    "pod starts. A sudden burst still fills pods beyond their seats until new ones are Ready: if",
    "you know when it comes, write a `schedule`, and otherwise a higher `min`.",
)
_FEWEST = 10  # replicas that the policy allows at least at the peak


def files(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return the texts of the files."""
    if adoption.choices.helm:
        return {VALUES: _values(adoption), **_scraping(adoption, ours)}
    return {**_policy(adoption), **_access(adoption, ours), **_scraping(adoption, ours)}


def policy_name(adoption: Adoption) -> str:
    """Return the name of the policy, with the namespace, as apps of several may have one name."""
    namespace, name = adoption.app.ref
    whole = name if namespace == SHIPPED_NAMESPACE else f"{namespace}-{name}"
    return whole.replace(".", "-")[-63:].strip("-")  # the name is at the end


def policy_key(adoption: Adoption) -> str:
    """Return the key of the policy in the ConfigMap of the daemon's policies."""
    return f"{policy_name(adoption)}.yaml"


def policy_folder(adoption: Adoption) -> str:
    """Return the folder of the component with the app's policy, and with what that needs."""
    return f"policy-{policy_name(adoption)}"


def policy_file(adoption: Adoption) -> str:
    """Return the path of the policy."""
    return f"{policy_folder(adoption)}/{_POLICY}"


def access_files(adoption: Adoption) -> tuple[str, ...]:
    """Return the paths of what lets the daemon into a namespace that our manifests do not name."""
    folder = policy_folder(adoption)
    return tuple(f"{folder}/{each}" for each in _access_names(adoption))


def _access_names(adoption: Adoption) -> tuple[str, ...]:
    return (_RIGHTS, _NETWORK) if needs_access(adoption) else ()


def needs_access(adoption: Adoption) -> bool:
    """Return whether nobody lets the daemon into the app's namespace, as the chart does."""
    return _is_elsewhere(adoption) and not adoption.choices.helm


def _is_elsewhere(adoption: Adoption) -> bool:
    return adoption.app.ref.namespace != SHIPPED_NAMESPACE


def role_patch(adoption: Adoption) -> list[dict[str, str]]:
    """Return what lets the daemon scale the Deployment, in the Role that we ship."""
    checked, added = _ROLE
    return [
        {"op": "test", "path": checked, "value": "deployments/scale"},
        {"op": "add", "path": added, "value": adoption.name},
    ]


def _policy(adoption: Adoption) -> dict[str, str]:
    """Return the policy, and the component that adds it to an overlay of the daemon."""
    added = {
        "name": POLICIES,
        "namespace": DAEMON_NAMESPACE,
        "behavior": "merge",
        "files": [f"{policy_key(adoption)}={_POLICY}"],
    }
    target = {"kind": "Role", "name": "bokeh-autoscaler", "namespace": SHIPPED_NAMESPACE}
    patch = {"target": target, "patch": json.dumps(role_patch(adoption))}
    fields: dict[str, Any] = (
        {"resources": [*_access_names(adoption)]}
        if needs_access(adoption)
        else {"patches": [patch]}
    )
    whole = component(
        "The policy of one app, for the overlay of the daemon. It comes after our components.",
        **fields,
        configMapGenerator=[added],
    )
    return {
        f"{policy_folder(adoption)}/{KUSTOMIZATION}": whole,
        policy_file(adoption): "".join(f"{line}\n" for line in _policy_lines(adoption)),
    }


def _policy_lines(adoption: Adoption) -> list[str]:
    app, choices = adoption.app, adoption.choices
    least = min(max(1, app.replicas), MAX_REPLICAS)
    values = {
        "name": policy_name(adoption),
        "target": {"namespace": app.ref.namespace, "deployment": adoption.name},
        "replicas": {"min": least, "max": min(max(_FEWEST, 3 * least), MAX_REPLICAS)},
    }
    metric = {"type": "sessions", "seats": choices.seats, "spare": {"refuse": "0.1%"}}
    return [
        *(f"{key}: {flow_text(value)}" for key, value in values.items()),
        "metrics:",
        *(f"  # {each}" for each in _DECIDE),
        f"  - {flow_text(metric)}",
    ]


def _access(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return the daemon's Role for this Deployment, its RoleBinding and the NetworkPolicy.

    They are those that we ship, with a name of their own, so that those of another app of the
    namespace stay.
    """
    if not needs_access(adoption):
        return {}
    name = f"bokeh-autoscaler-{adoption.name}"
    meta = {"name": name, "namespace": adoption.app.ref.namespace}
    changed = [{**each, "metadata": meta} for each in ours.rights]
    for each in changed:
        if each["kind"] == "Role":
            each["rules"] = [_of_target(rule, adoption.name) for rule in each["rules"]]
        else:
            each["roleRef"] = {**each["roleRef"], "name": name}
    spec = ours.network["spec"]
    selector = {**spec["podSelector"], "matchLabels": dict(adoption.selector)}
    network = {**ours.network, "metadata": meta, "spec": {**spec, "podSelector": selector}}
    rights, connections = access_files(adoption)
    return {rights: "---\n".join(map(block_text, changed)), connections: block_text(network)}


def _of_target(rule: Json, deployment: str) -> dict[str, Any]:
    is_scale = "deployments/scale" in rule["resources"]
    return {**rule, **({"resourceNames": [deployment]} if is_scale else {})}


def scraping_folder(adoption: Adoption) -> str | None:
    """Return the folder of the component for Prometheus; None: ours scrapes the namespace."""
    return f"prometheus-{adoption.app.ref.namespace}" if _is_elsewhere(adoption) else None


def scraping_rights(adoption: Adoption) -> str:
    """Return the path of what lets our Prometheus find the pods of such a namespace."""
    return f"{scraping_folder(adoption)}/{_RIGHTS}"


def job_file(adoption: Adoption) -> str:
    """Return the name of the file with the scrape job of the namespace."""
    return f"jobs-{adoption.app.ref.namespace}.yml"


def _scraping(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return a component that lets our Prometheus find and scrape the pods of the namespace."""
    folder = scraping_folder(adoption)
    if folder is None:
        return {}
    namespace = adoption.app.ref.namespace
    meta = {"name": "prometheus", "namespace": namespace}
    discovery = [{"role": "pod", "namespaces": {"names": [namespace]}}]
    job = {
        **ours.scrape_job,
        "job_name": f"{ours.scrape_job['job_name']}-{namespace}",
        "kubernetes_sd_configs": discovery,
    }
    added = {
        "name": "prometheus",
        "namespace": DAEMON_NAMESPACE,
        "behavior": "merge",
        "files": [job_file(adoption)],
    }
    whole = component(
        "The scrape job of one more namespace. It comes after our component prometheus.",
        resources=[_RIGHTS],
        configMapGenerator=[added],
    )
    rights = ({**each, "metadata": meta} for each in ours.scrape_rights)
    return {
        f"{folder}/{KUSTOMIZATION}": whole,
        f"{folder}/{job_file(adoption)}": block_text({"scrape_configs": [job]}),
        scraping_rights(adoption): "---\n".join(map(block_text, rights)),
    }


def _values(adoption: Adoption) -> str:
    """Return the chart's values with the policy."""
    app, choices = adoption.app, adoption.choices
    lines = [
        "# Add these to the file with your values, and items to a list that it has, as `policies`.",
        f"watchNamespaces: {flow_text([app.ref.namespace])}",
    ]
    if choices.sticky:
        label = next(iter(adoption.selector.values()))
        proxy = {"enabled": True, "kind": choices.sticky, "app": label, "port": app.port}
        lines.append(f"proxy: {flow_text(proxy)}")
    first, *others = _policy_lines(adoption)
    lines += ["policies:", f"  - {first}", *(f"    {line}" for line in others)]
    return "".join(f"{line}\n" for line in lines)
