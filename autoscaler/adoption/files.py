"""The files of an adoption, by their paths in the folder. Pure.

Pods and Services are in folders of their own, because nobody must apply both at once: a Service
that selects by a label which no pod has yet sends its users nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.yaml_writing import block_text, flow_text
from autoscaler.adapters.shipped import Shipped
from autoscaler.adoption.app import App
from autoscaler.adoption.plan import Adoption
from autoscaler.policy.fields import MAX_REPLICAS

KUSTOMIZATION = "kustomization.yaml"
PODS, SERVICES, PROXY, SCRAPING = "pods", "services", "sticky", "prometheus"
POLICY, VALUES, STEPS = "policy.yaml", "values.yaml", "STEPS.md"
RIGHTS = "rights.yaml"
# Where the manifests that we ship let the daemon scale.
SHIPPED_NAMESPACE = "bokeh"
# nginx connects to this port of the pods, which its configuration has as a number.
_SHIPPED_PORT = re.compile(r":5006\b")
_FEWEST = 10  # replicas that the policy allows at least at the peak


def files(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return the texts of all files but the steps."""
    kustomized = {**_pods(adoption), **_services(adoption), **_proxy(adoption, ours)}
    folders = list(dict.fromkeys(path.partition("/")[0] for path in kustomized))
    return {
        KUSTOMIZATION: _kustomization("Apply this when all steps are done.", resources=folders),
        **kustomized,
        **_of_daemon(adoption),
        **_rights(adoption, ours),
        **_scraping(adoption, ours),
    }


def needs_rights(adoption: Adoption) -> bool:
    """Return whether nobody lets the daemon into the app's namespace, as the chart does."""
    return adoption.app.ref.namespace != SHIPPED_NAMESPACE and not adoption.choices.helm


def _rights(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return the daemon's Role for this Deployment, and its RoleBinding, as we ship them.

    They have a name of their own, so that those of another app of the namespace stay.
    """
    if not needs_rights(adoption):
        return {}
    name = f"bokeh-autoscaler-{adoption.name}"
    meta = {"name": name, "namespace": adoption.app.ref.namespace}
    changed = [{**each, "metadata": meta} for each in ours.rights]
    for each in changed:
        if each["kind"] == "Role":
            each["rules"] = [_of_target(rule, adoption.name) for rule in each["rules"]]
        else:
            each["roleRef"] = {**each["roleRef"], "name": name}
    return {RIGHTS: "---\n".join(map(block_text, changed))}


def job_file(namespace: str) -> str:
    """Return the name of the file with the scrape job of a namespace."""
    return f"jobs-{namespace}.yml"


def _scraping(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return a component that lets our Prometheus find and scrape the pods of the namespace."""
    if not needs_rights(adoption):
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
        "namespace": "bokeh-autoscaler",
        "behavior": "merge",
        "files": [job_file(namespace)],
    }
    whole = _kustomization(
        "The scrape job of one more namespace. It comes after our component prometheus.",
        "v1alpha1",
        "Component",
        resources=[RIGHTS],
        configMapGenerator=[added],
        generatorOptions={"disableNameSuffixHash": True},
    )
    rights = ({**each, "metadata": meta} for each in ours.scrape_rights)
    return {
        f"{SCRAPING}/{KUSTOMIZATION}": whole,
        f"{SCRAPING}/{job_file(namespace)}": block_text({"scrape_configs": [job]}),
        f"{SCRAPING}/{RIGHTS}": "---\n".join(map(block_text, rights)),
    }


def _of_target(rule: Json, deployment: str) -> dict[str, Any]:
    is_scale = "deployments/scale" in rule["resources"]
    return {**rule, **({"resourceNames": [deployment]} if is_scale else {})}


def _kustomization(
    comment: str, version: str = "v1beta1", kind: str = "Kustomization", **fields: Any
) -> str:
    head = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind}
    return f"# {comment}\n" + block_text({**head, **fields})


def _pods(adoption: Adoption) -> dict[str, str]:
    """Return what runs now, the patch that adopts it, and the PodDisruptionBudget."""
    budgets = {f"{PODS}/budget.yaml": block_text(each) for each in adoption.budgets}
    name = adoption.app.ref.deployment
    change = {
        "path": "patch.yaml",
        "target": {"kind": "Deployment", "name": name},
        "options": {"allowNameChange": True},
    }
    resources = ["deployment.yaml", *(path.partition("/")[2] for path in budgets)]
    return {
        f"{PODS}/{KUSTOMIZATION}": _kustomization(
            "The adopted pods: what runs now, and what an adoption adds.",
            resources=resources,
            patches=[change],
        ),
        f"{PODS}/deployment.yaml": (
            "# What runs now, without `replicas`, which only the daemon sets.\n"
            + block_text(adoption.app.deployment)
        ),
        f"{PODS}/patch.yaml": block_text(adoption.patch),
        **budgets,
    }


def _services(adoption: Adoption) -> dict[str, str]:
    if not adoption.services:
        return {}
    patches = [
        {
            "target": {"kind": "Service", "name": name},
            "patch": block_text(
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": name},
                    "spec": changed,
                }
            ),
        }
        for name, changed in adoption.switches.items()
        if changed["selector"]
    ]
    return {
        f"{SERVICES}/{KUSTOMIZATION}": _kustomization(
            "Not before the adopted pods are Ready: until then no pod has these labels.",
            resources=["services.yaml"],
            patches=patches,
        ),
        f"{SERVICES}/services.yaml": "---\n".join(map(block_text, adoption.app.services)),
    }


def _proxy(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return copies of the sticky proxy's files, and what leads it to the app."""
    if not adoption.proxies:
        return {}
    app = adoption.app
    port = f":{app.port}"
    texts = {
        f"{PROXY}/{path}": _SHIPPED_PORT.sub(port, text) if path.startswith("nginx/") else text
        for path, text in (ours.proxy_files or {}).items()
    }
    patches = [
        {
            "target": {"kind": "Service", "name": each["metadata"]["name"]},
            "patch": block_text(
                [
                    {"op": "replace", "path": f"/spec/{key}", "value": each["spec"][key]}
                    for key in ("selector", "ports")
                ]
            ),
        }
        for each in adoption.proxies
    ]
    patches.append({"target": {"kind": "Deployment"}, "patch": block_text([_priority(app)])})
    component = f"kubernetes/components/sticky-{adoption.choices.sticky}"
    whole = _kustomization(
        "The files below are copies of ours; only what is here leads them to the app.",
        namespace=app.ref.namespace,
        components=[component],
        patches=patches,
    )
    return {f"{PROXY}/{KUSTOMIZATION}": whole, **texts}


def _priority(app: App) -> dict[str, Any]:
    """Return how the proxy gets the app's priority, as the class of ours may not be there."""
    path = "/spec/template/spec/priorityClassName"
    own = app.deployment["spec"]["template"]["spec"].get("priorityClassName")
    return {"op": "replace", "path": path, "value": own} if own else {"op": "remove", "path": path}


def _of_daemon(adoption: Adoption) -> dict[str, str]:
    """Return the policy, or the chart's values with it."""
    app, choices = adoption.app, adoption.choices
    least = min(max(1, app.replicas), MAX_REPLICAS)
    values = {
        "name": policy_name(adoption),
        "target": {"namespace": app.ref.namespace, "deployment": adoption.name},
        "replicas": {"min": least, "max": min(max(_FEWEST, 3 * least), MAX_REPLICAS)},
    }
    metric = {"type": "sessions", "seats": choices.seats, "spare": max(1, choices.seats // 2)}
    lines = [
        *(f"{key}: {flow_text(value)}" for key, value in values.items()),
        "metrics:",
        "  # Decide how many sessions one pod may hold, and how many free seats to keep.",
        f"  - {flow_text(metric)}",
    ]
    if not choices.helm:
        return {POLICY: "".join(f"{line}\n" for line in lines)}
    indented = [f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]
    return {VALUES: "".join(f"{line}\n" for line in [*_chart(adoption), "policies:", *indented])}


def _chart(adoption: Adoption) -> list[str]:
    """Return the lines of the chart's values around the policies."""
    app, choices = adoption.app, adoption.choices
    lines = [
        "# Add these to the file with your values, and items to a list that it has, as `policies`.",
        f"watchNamespaces: {flow_text([app.ref.namespace])}",
    ]
    if choices.sticky:
        label = next(iter(adoption.selector.values()))
        proxy = {"enabled": True, "kind": choices.sticky, "app": label, "port": app.port}
        lines.append(f"proxy: {flow_text(proxy)}")
    return lines


def policy_name(adoption: Adoption) -> str:
    """Return the name of the policy, with the namespace, as apps of several may have one name."""
    namespace, name = adoption.app.ref
    whole = name if namespace == SHIPPED_NAMESPACE else f"{namespace}-{name}"
    return whole.replace(".", "-")[-63:].strip("-")  # the name is at the end
