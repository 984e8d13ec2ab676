"""The steps by which Prometheus and the daemon learn of the app. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from autoscaler.adoption import daemon_files as files
from autoscaler.adoption import proxy_steps
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, kubectl

_OWN = f"kubectl -n {files.DAEMON_NAMESPACE}"
_PATCH = f"{_OWN} patch configmap {files.POLICIES} --type=merge"
_NEEDED = "Without the sessions of a pod, the daemon takes it for full."


def scraping(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how Prometheus learns of a namespace, unless our manifests name it."""
    by_chart = adoption.choices.helm
    if files.scraping_folder(adoption) is None and not by_chart:
        return
    namespace = adoption.app.ref.namespace
    ways = _by_charts_values(adoption, folder) if by_chart else _by_overlay(adoption, folder)
    yield Step(
        f"Let Prometheus scrape {namespace}",
        f"{_NEEDED} {next(ways)}\n\n" + "\n".join(f"* {each}" for each in ways),
    )


def _by_overlay(adoption: Adoption, folder: str) -> Iterator[str]:
    """Yield what Prometheus lacks, and how each kind of it gets that."""
    namespace, part = adoption.app.ref.namespace, files.scraping_folder(adoption)
    yield (
        f"Our manifests scrape the namespace {files.SHIPPED_NAMESPACE} only, so add {namespace} "
        "where yours come from, once for all apps of the namespace:"
    )
    yield (
        f"the Prometheus of our component: copy the folder {folder}/{part} into the folder of your "
        f"overlay, add `- {part}` to its `components`, after ours, and apply it. Prometheus reads "
        "the new job within two minutes, without a restart."
    )
    yield (
        "the Prometheus Operator: add it to `namespaceSelector.matchNames` of the PodMonitor "
        "`bokeh-autoscaler-apps`."
    )
    yield _by_another(adoption, folder)


def _by_charts_values(adoption: Adoption, folder: str) -> Iterator[str]:
    part = files.scraping_folder(adoption)
    more = (
        f", with the folder {folder}/{part} copied beside it, and `- {part}` at the end of its "
        "`components`"
        if part
        else ""
    )
    yield "The chart has no Prometheus, so let the one that you have scrape the pods:"
    yield (
        "the Prometheus Operator: set `podMonitor: {enabled: true}` and `prometheus` in your "
        "values; the PodMonitor has every namespace of `watchNamespaces`."
    )
    yield (
        "no Prometheus: apply our component by the kustomization that deploy/helm/README.md, "
        f"Without a Prometheus, shows{more}."
    )
    yield _by_another(adoption, folder)


def _by_another(adoption: Adoption, folder: str) -> str:
    part = files.scraping_folder(adoption)
    like = (
        f"{folder}/{part}/{files.job_file(adoption)}"
        if part
        else "the job `bokeh` of deploy/kubernetes/components/prometheus/prometheus.yml"
    )
    return (
        f"another Prometheus: it has to scrape the port `bokeh-metrics` of the pods, as {like} "
        "does, with the labels `namespace` and `pod`."
    )


def policy(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how the daemon may scale the app, and then gets its policy."""
    yield _by_chart(adoption, folder) if adoption.choices.helm else _by_commands(adoption, folder)


def _by_commands(adoption: Adoption, folder: str) -> Step:
    part = files.policy_folder(adoption)
    source = quote(f"{files.policy_key(adoption)}={folder}/{files.policy_file(adoption)}")
    add = (
        f"{_OWN} create configmap {files.POLICIES} --from-file={source} --dry-run=client "
        f"-o json | {_PATCH} --patch-file=/dev/stdin"
    )
    role = quote(json.dumps(files.role_patch(adoption)))
    access = [quote(f"{folder}/{each}") for each in files.access_files(adoption)]
    allow = (
        f"kubectl apply {' '.join(f'-f {each}' for each in access)}"
        if access
        else kubectl(adoption, f"patch role bokeh-autoscaler --type=json --patch {role}")
    )
    return Step(
        "Give the daemon its policy",
        f"The first command lets the daemon scale the Deployment, and the second one adds the "
        "policy. The order matters: a daemon with a policy for a namespace that it may not read is "
        "not Ready. Your overlay has to keep both: copy the folder "
        f"{folder}/{part} into the folder of your overlay, add it to its `components`, after "
        "ours and beside those of other apps, and apply the overlay:\n\n"
        f"```yaml\ncomponents:\n  - {part}\n```{_network(access)}",
        (allow, add),
    )


def withdrawal(adoption: Adoption) -> str:
    """Return the command that takes the policy from the daemon."""
    change = json.dumps({"data": {files.policy_key(adoption): None}})
    return f"{_PATCH} --patch {quote(change)}"


def _network(access: list[str]) -> str:
    """Return who may connect to the sidecars, if a NetworkPolicy says so."""
    return (
        f"\n\n{access[-1]} lets only the daemon and Prometheus connect to the sidecars: if your "
        "Prometheus has other labels or is in another namespace than it names, change that there "
        "first."
        if access
        else ""
    )


def _by_chart(adoption: Adoption, folder: str) -> Step:
    choices = adoption.choices
    upgrade = (
        "helm upgrade bokeh-autoscaler deploy/helm/bokeh-autoscaler --namespace "
        f"{files.DAEMON_NAMESPACE} -f my-values.yaml"
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
