"""The steps by which Prometheus and the daemon learn of the app. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from autoscaler.adoption import files, proxy_steps
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, kubectl

_ROLE = "/rules/3/resources/0", "/rules/3/resourceNames/-"  # of the manifests that we ship


def scraping(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how Prometheus learns of a namespace that our manifests do not name."""
    namespace = adoption.app.ref.namespace
    if not files.needs_rights(adoption):
        return
    yield Step(
        f"Let Prometheus scrape {namespace}",
        "Without the sessions of a pod, the daemon takes it for full. Our manifests scrape the "
        f"namespace {files.SHIPPED_NAMESPACE} only, so add {namespace} where yours come from, once "
        "for all apps of the namespace:\n\n"
        f"* the Prometheus of our component: copy the folder {folder}/{files.SCRAPING} into your "
        f"overlay, add `- {files.SCRAPING}` to its `components`, after ours, and apply it. Then "
        "`kubectl -n bokeh-autoscaler rollout restart deployment/prometheus` lets it read the new "
        "job.\n"
        "* the Prometheus Operator: to `namespaceSelector.matchNames` of the PodMonitor "
        "`bokeh-autoscaler-apps`.\n"
        "* another Prometheus: it has to scrape the port `bokeh-metrics` of the pods, as "
        f"{folder}/{files.SCRAPING}/{files.job_file(namespace)} does, with the labels `namespace` "
        "and `pod`.",
    )


def policy(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how the daemon may scale the app, and then gets its policy."""
    if adoption.choices.helm:
        yield _by_chart(adoption, folder)
        return
    own = "kubectl -n bokeh-autoscaler"
    source = quote(f"{files.policy_name(adoption)}.yaml={folder}/{files.POLICY}")
    add = (
        f"{own} create configmap bokeh-autoscaler-policies --from-file={source} --dry-run=client "
        f"-o json | {own} patch configmap bokeh-autoscaler-policies --type=merge "
        "--patch-file=/dev/stdin"
    )
    role = json.dumps(_role_patch(adoption))
    allow = (
        f"kubectl apply -f {quote(f'{folder}/{files.RIGHTS}')}"
        if files.needs_rights(adoption)
        else kubectl(adoption, f"patch role bokeh-autoscaler --type=json --patch {quote(role)}")
    )
    copied = [files.POLICY, *([files.RIGHTS] if files.needs_rights(adoption) else [])]
    yield Step(
        "Give the daemon its policy",
        "The first command lets the daemon scale the Deployment, and the second one adds the "
        "policy. The order matters: a daemon with a policy for a namespace that it may not read is "
        f"not Ready. Add both to your overlay too: copy {' and '.join(copied)} into its folder, "
        "by other names if it has those of another app, and add these lines. They leave our "
        "example app and its policy out; to keep both, write `merge` in place of `replace`, "
        "and leave out the last patch.\n\n"
        f"```yaml\n{_overlay(adoption)}```",
        (allow, add),
    )


def _role_patch(adoption: Adoption) -> list[dict[str, str]]:
    checked, added = _ROLE
    return [
        {"op": "test", "path": checked, "value": "deployments/scale"},
        {"op": "add", "path": added, "value": adoption.name},
    ]


def _overlay(adoption: Adoption) -> str:
    """Return what an overlay of the daemon needs, so that it keeps the policy and the rights."""
    name = files.policy_name(adoption)
    rights = files.needs_rights(adoption)
    resources = f"  - {files.RIGHTS}\n" if rights else ""
    role = (
        ""
        if rights
        else "  - target: {kind: Role, name: bokeh-autoscaler}\n    patch: |-\n"
        + "".join(f"      - {json.dumps(each)}\n" for each in _role_patch(adoption))
    )
    return (
        "resources:\n"
        "  - ../bokeh-autoscaler/deploy/kubernetes/base\n"
        f"{resources}"
        "configMapGenerator:\n"
        "  - name: bokeh-autoscaler-policies\n"
        "    namespace: bokeh-autoscaler\n"
        "    behavior: replace\n"
        f"    files: [{name}.yaml={files.POLICY}]\n"
        "generatorOptions: {disableNameSuffixHash: true}\n"
        "patches:\n"
        f"{role}"
        "  - target: {kind: Deployment|Service|PodDisruptionBudget, name: bokeh-app}\n"
        "    patch: |-\n"
        "      $patch: delete\n"
        "      kind: Any\n"
        "      metadata: {name: bokeh-app}\n"
    )


def _by_chart(adoption: Adoption, folder: str) -> Step:
    choices = adoption.choices
    upgrade = (
        "helm upgrade bokeh-autoscaler deploy/helm/bokeh-autoscaler --namespace "
        "bokeh-autoscaler -f my-values.yaml"
    )
    image = f" The proxy starts too. {proxy_steps.image(adoption, folder)}"
    return Step(
        "Give the daemon its policy",
        f"Add the content of {folder}/{files.VALUES} to the values of your release, which are "
        "in my-values.yaml here: items to a list that is there, such as `policies`, and "
        "everything else as it is. Every later upgrade then has the policy too. Without it in "
        "that file, the next upgrade would remove the policy." + (image if choices.sticky else ""),
        (upgrade,),
    )
