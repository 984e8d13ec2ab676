"""The files of an adoption, by their paths in the folder. Pure.

Pods and Services are in folders of their own, because nobody must apply both at once: a Service
that selects by a label which no pod has yet sends its users nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from autoscaler.adapters.policies.yaml_writing import block_text
from autoscaler.adapters.shipped import Shipped
from autoscaler.adoption import daemon_files
from autoscaler.adoption.app import App
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.writing import KUSTOMIZATION, kustomization

PODS, SERVICES, PROXY = "pods", "services", "sticky"
STEPS = "STEPS.md"
# nginx connects to this port of the pods, which its configuration has as a number.
_SHIPPED_PORT = re.compile(r":5006\b")


def files(adoption: Adoption, ours: Shipped) -> dict[str, str]:
    """Return the texts of all files but the steps."""
    kustomized = {**_pods(adoption), **_services(adoption), **_proxy(adoption, ours)}
    folders = list(dict.fromkeys(path.partition("/")[0] for path in kustomized))
    return {
        KUSTOMIZATION: kustomization("Apply this when all steps are done.", resources=folders),
        **kustomized,
        **daemon_files.files(adoption, ours),
    }


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
        f"{PODS}/{KUSTOMIZATION}": kustomization(
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
        f"{SERVICES}/{KUSTOMIZATION}": kustomization(
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
    whole = kustomization(
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
