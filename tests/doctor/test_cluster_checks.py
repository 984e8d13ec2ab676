"""Each way to break the set-up that we ship is found, with its place and a fix; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.rights import Right, needed
from autoscaler.doctor.findings import Severity
from tests.doctor.set_ups import (
    DAEMON,
    REF,
    Break,
    Seen,
    broken,
    facts,
    found,
    right,
    service,
    template,
)
from tests.lab.role import single_rights

ROUTABLE = "bokeh-autoscaler/routable"
SCALES = {"scaleTargetRef": {"kind": "Deployment", "name": "bokeh-app"}}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def named(name: str, **spec: Any) -> Any:
    return {"metadata": {"name": name, "namespace": REF.namespace}, "spec": spec}


def written_by(manager: str, operation: str) -> Any:
    fields = {"f:spec": {"f:replicas": {}}}
    return {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": fields}]}


def unlabel(seen: Seen) -> None:
    del template(seen)["metadata"]["labels"][ROUTABLE]


def unlabel_pods(seen: Seen) -> None:
    for pod in seen["pods"]:
        del pod["metadata"]["labels"][ROUTABLE]


def select_by_label(seen: Seen) -> None:
    seen["deployment"]["spec"]["selector"]["matchLabels"][ROUTABLE] = "true"


def meta(**fields: Any) -> Break:
    return lambda seen: seen["deployment"]["metadata"].update(fields)


# What is wrong: how to make it so, what is found, how bad it is.
CASES: dict[str, tuple[Break, str, Severity]] = {
    "there is no such Deployment": (
        lambda seen: seen.update(deployment=None),
        "no-deployment",
        Severity.ERROR,
    ),
    "an HPA scales it": (
        lambda seen: seen["autoscalers"].append(named("cpu", **SCALES)),
        "other-autoscaler",
        Severity.ERROR,
    ),
    "KEDA scales it": (
        lambda seen: seen["scaled_objects"].append(
            named("keda", scaleTargetRef={"name": "bokeh-app"})
        ),
        "other-autoscaler",
        Severity.ERROR,
    ),
    "the template lacks the label": (unlabel, "label-missing-from-template", Severity.ERROR),
    "pods lack the label": (unlabel_pods, "pods-without-label", Severity.ERROR),
    "the Deployment selects by the label": (
        select_by_label,
        "label-in-deployment-selector",
        Severity.ERROR,
    ),
    "the Service does not select by the label": (
        lambda seen: service(seen)["spec"]["selector"].pop(ROUTABLE),
        "label-missing-from-service",
        Severity.ERROR,
    ),
    "no Service selects the pods": (
        lambda seen: service(seen)["spec"].update(selector={"app": "another"}),
        "no-service",
        Severity.WARNING,
    ),
    "no pod behind the Service is ready": (
        lambda seen: seen["endpoint_slices"][0].update(endpoints=[]),
        "service-without-ready-pods",
        Severity.ERROR,
    ),
    "the daemon may not patch the scale": (
        lambda seen: seen["missing_rights"].append(
            Right("patch", "apps", "deployments/scale", "bokeh", "bokeh-app")
        ),
        "right-missing",
        Severity.ERROR,
    ),
    "there is no daemon": (lambda seen: seen.update(daemon=None), "no-daemon", Severity.WARNING),
    "kubectl applied replicas": (
        meta(annotations={LAST_APPLIED: '{"spec":{"replicas":3}}'}),
        "replicas-in-manifest",
        Severity.ERROR,
    ),
    "Flux applies replicas": (
        meta(**written_by("kustomize-controller", "Apply")),
        "replicas-in-manifest",
        Severity.ERROR,
    ),
    "Argo CD applies replicas": (
        meta(**written_by("argocd-controller", "Update")),
        "replicas-in-manifest",
        Severity.ERROR,
    ),
    "a Helm release has replicas": (
        meta(**written_by("helm", "Update")),
        "replicas-in-manifest",
        Severity.ERROR,
    ),
}


def test_nothing_is_found_in_what_we_ship() -> None:
    assert found(facts(right())) == {}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_and_nothing_else(case: str) -> None:
    change, wanted, severity = CASES[case]

    findings = found(broken(change))

    assert list(findings) == [wanted]
    assert findings[wanted].severity is severity
    assert findings[wanted].where
    assert findings[wanted].feel.endswith(".")


@pytest.mark.parametrize("case", CASES)
def test_a_fix_of_yaml_is_yaml(case: str) -> None:
    change, wanted, _ = CASES[case]
    fix = found(broken(change))[wanted].fix

    if fix.startswith(("spec:", "rules:", "kind:", "args:", "envFrom:", "containers:")):
        assert isinstance(yaml.safe_load(fix), dict)
    else:
        assert "kubectl" in fix or "docs/" in fix


# What looks like a fault and is none.
FINE: dict[str, Break] = {
    "an HPA of another Deployment": lambda seen: seen["autoscalers"].append(
        named("cpu", scaleTargetRef={"kind": "Deployment", "name": "another"})
    ),
    "an HPA of a StatefulSet of the same name": lambda seen: seen["autoscalers"].append(
        named("cpu", scaleTargetRef={"kind": "StatefulSet", "name": "bokeh-app"})
    ),
    "a headless Service with all pods, as of a sticky proxy": lambda seen: seen["services"].append(
        named(
            "bokeh-app",
            clusterIP="None",
            selector={"app.kubernetes.io/name": "bokeh-app"},
            ports=[{"port": 5006}],
        )
    ),
    "a Service of the exporter's port": lambda seen: seen["services"].append(
        named("metrics", selector={"app.kubernetes.io/name": "bokeh-app"}, ports=[{"port": 9550}])
    ),
    "replicas that the daemon wrote": meta(**written_by("bokeh-autoscaler", "Update")),
    "replicas that were handed over": meta(**written_by("handover", "Apply")),
    "replicas that somebody scaled by hand": meta(**written_by("kubectl", "Update")),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_right_is_not_found(case: str) -> None:
    assert found(broken(FINE[case])) == {}


def test_an_hpa_of_keda_is_told_of_once() -> None:
    def with_keda(seen: Seen) -> None:
        owner = {"kind": "ScaledObject", "name": "keda"}
        hpa = named("keda-hpa-keda", **SCALES)
        hpa["metadata"]["ownerReferences"] = [owner]
        seen["scaled_objects"].append(named("keda", scaleTargetRef={"name": "bokeh-app"}))
        seen["autoscalers"].append(hpa)

    findings = found(broken(with_keda))

    assert findings["other-autoscaler"].where.startswith("ScaledObject bokeh/keda")


def test_what_could_not_be_read_is_no_finding() -> None:
    lists = [key for key, value in right().items() if isinstance(value, list)]

    def read_nothing(seen: Seen) -> None:
        seen.update(dict.fromkeys(lists, None), unexamined=["not allowed to list pods"])

    seen = broken(read_nothing)

    assert found(seen) == {}
    assert seen.unexamined == ("not allowed to list pods",)


def test_the_rights_are_those_of_the_role_that_we_ship() -> None:
    asked = {(each.verb, each.resource) for each in needed(REF, DAEMON.namespace, DAEMON.name, 1)}

    assert asked == set(single_rights())
