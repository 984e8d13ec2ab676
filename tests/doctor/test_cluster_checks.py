"""Each way to break the set-up that we ship is found, with its place and a fix; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.daemon_policies import DaemonPolicies
from autoscaler.adapters.kubernetes.inspection import needed_by
from autoscaler.adapters.kubernetes.rights import Right, needed
from autoscaler.doctor.findings import Severity
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from tests.deploy.manifests import FOLDER
from tests.doctor.set_ups import (
    DAEMON,
    REF,
    Break,
    Seen,
    app,
    broken,
    facts,
    found,
    right,
    service,
    template,
)
from tests.lab.role import single_rights

TRUSTED = "BOKEH_EXPORTER_TRUSTED_UIDS"
ROUTABLE = "bokeh-autoscaler/routable"
SCALES = {"scaleTargetRef": {"kind": "Deployment", "name": "bokeh-app"}}
SERVE = "bokeh serve . --session-token-expiration=86400 --unused-session-lifetime=60000"
STICKY = "stickiness.enabled=true,stickiness.lb_cookie.duration_seconds=86400"
LIMITS = {
    "type": "Container",
    "default": {"memory": "384Mi"},
    "defaultRequest": {"cpu": "100m", "memory": "384Mi"},
}
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


def run_as(user: int | None, *trusted: str) -> Break:
    """Let the app run as a user, in a container without the variable that we ship."""

    def change(seen: Seen) -> None:
        del template(seen)["spec"]["securityContext"]["runAsUser"]
        app(seen)["env"] = [{"name": TRUSTED, "value": value} for value in trusted]
        app(seen)["securityContext"] = {} if user is None else {"runAsUser": user}

    return change


# What is wrong: how to make it so, what is found, how bad it is.
CASES: dict[str, tuple[Break, str, Severity]] = {
    "there is no such Deployment": (
        lambda seen: seen.update(deployment=None, absent=frozenset({"deployment"})),
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
    "the app is root and does not trust the sidecar's user": (
        run_as(0),
        "notices-not-taken",
        Severity.WARNING,
    ),
    "the app trusts another user than the sidecar's": (
        run_as(1000, "1, 2"),
        "notices-not-taken",
        Severity.WARNING,
    ),
    "the launcher's option names another user than the variable": (
        lambda seen: (
            run_as(0, "65532")(seen),
            app(seen).update(
                command=["bokeh-exporter", "launch", "--trusted-uids=7", "--", *SERVE.split()],
                args=[],
            ),
        ),
        "notices-not-taken",
        Severity.WARNING,
    ),
    "the app's user is not known and it trusts nobody": (
        run_as(None),
        "notices-not-taken",
        Severity.NOTE,
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
    "there is no daemon": (
        lambda seen: seen.update(daemon=None, absent=frozenset({"daemon"})),
        "no-daemon",
        Severity.WARNING,
    ),
    "the daemon is scaled to zero": (
        lambda seen: seen["daemon"].update(status={}),
        "daemon-not-running",
        Severity.ERROR,
    ),
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
    "the template has no exporter": (
        lambda seen: (template(seen)["spec"].pop("initContainers"), seen["pods"].clear()),
        "no-exporter",
        Severity.ERROR,
    ),
    "pods are from before the exporter": (
        lambda seen: [pod["spec"].update(initContainers=[]) for pod in seen["pods"]],
        "pods-without-exporter",
        Severity.ERROR,
    ),
    "an exporter crashes": (
        lambda seen: seen["pods"][0]["status"]["initContainerStatuses"][0].update(
            state={"waiting": {"reason": "CrashLoopBackOff"}}
        ),
        "exporter-not-running",
        Severity.ERROR,
    ),
    "a pod waits for its Secret": (
        lambda seen: seen["pods"][0]["status"]["containerStatuses"][0].update(
            state={"waiting": {"reason": "CreateContainerConfigError", "message": "no bokeh-app"}}
        ),
        "pod-not-starting",
        Severity.ERROR,
    ),
    "a pod starts again after a crash": (
        lambda seen: seen["pods"][0]["status"]["containerStatuses"][0].update(
            ready=False,
            state={"running": {}},
            lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        ),
        "pod-not-starting",
        Severity.ERROR,
    ),
    "a Service names a port that no container has": (
        lambda seen: service(seen)["spec"]["ports"][0].update(targetPort="web"),
        "service-port-unknown",
        Severity.ERROR,
    ),
    "the exporter's port is open for UDP alone": (
        lambda seen: seen["network_policies"][0]["spec"].update(
            ingress=[{"ports": [{"protocol": "UDP", "port": 9550}]}]
        ),
        "exporter-blocked",
        Severity.ERROR,
    ),
    "nobody may connect to the pods": (
        lambda seen: seen["network_policies"][0]["spec"].update(ingress=[]),
        "exporter-blocked",
        Severity.ERROR,
    ),
    "only Prometheus may connect to the exporter": (
        lambda seen: seen["network_policies"][0]["spec"]["ingress"][1]["from"].pop(),
        "exporter-blocked",
        Severity.ERROR,
    ),
    "the daemon says that it reaches nobody": (
        lambda seen: seen["events"].append(
            {"reason": "SidecarUnreachable", "lastTimestamp": "2027-01-15T08:00:00Z"}
        ),
        "exporter-unreachable",
        Severity.WARNING,
    ),
    "the server is the first process": (
        lambda seen: app(seen).update(command=["/usr/local/bin/bokeh", "serve"]),
        "no-launcher",
        Severity.ERROR,
    ),
    "a shell starts the server": (
        lambda seen: app(seen).update(command=["sh", "-c", f"cd /app && {SERVE}"], args=[]),
        "no-launcher",
        Severity.ERROR,
    ),
    "a shell starts the launcher": (
        lambda seen: app(seen).update(
            command=["/bin/sh", "-c"], args=[f"cd /app && bokeh-exporter launch -- {SERVE}"]
        ),
        "launcher-behind-shell",
        Severity.ERROR,
    ),
    "a login shell starts the launcher": (
        lambda seen: app(seen).update(
            command=["bash", "-lc", f"cd /app && bokeh-exporter launch -- {SERVE}"], args=[]
        ),
        "launcher-behind-shell",
        Severity.ERROR,
    ),
    "a rollout ends pods first": (
        lambda seen: seen["deployment"]["spec"].pop("strategy"),
        "rollout-ends-pods-first",
        Severity.NOTE,
    ),
    "a session waits for 15 s": (
        lambda seen: app(seen)["args"].remove("--unused-session-lifetime=60000"),
        "session-discarded-early",
        Severity.NOTE,
    ),
    "the proxy's Services are those of another app": (
        lambda seen: seen["services"].append(
            named("sticky-all", clusterIP="None", selector={"app": "b"}, ports=[{"port": 5006}])
        ),
        "sticky-proxy-without-pods",
        Severity.WARNING,
    ),
    "Kubernetes waits for 30 s": (
        lambda seen: template(seen)["spec"].pop("terminationGracePeriodSeconds"),
        "grace-too-short",
        Severity.ERROR,
    ),
    "Kubernetes waits for less than a longer drain": (
        lambda seen: app(seen).update(
            command=["bokeh-exporter", "launch", "--drain-deadline=2h", "--"]
        ),
        "grace-too-short",
        Severity.ERROR,
    ),
    "a rollout ends all pods first": (
        lambda seen: seen["deployment"]["spec"].update(strategy={"type": "Recreate"}),
        "strategy-recreate",
        Severity.ERROR,
    ),
    "there is no budget": (
        lambda seen: seen["budgets"].clear(),
        "no-disruption-budget",
        Severity.WARNING,
    ),
    "the budget allows nothing": (
        lambda seen: seen["budgets"][0]["spec"].update(maxUnavailable=0),
        "disruption-budget-blocks",
        Severity.WARNING,
    ),
    "a probe opens the page": (
        lambda seen: app(seen).update(readinessProbe={"httpGet": {"path": "/app", "port": "http"}}),
        "probe-creates-sessions",
        Severity.ERROR,
    ),
    "a command of a probe opens the page": (
        lambda seen: app(seen).update(
            readinessProbe={"exec": {"command": ["curl", "-f", "http://localhost:5006/app"]}}
        ),
        "probe-creates-sessions",
        Severity.ERROR,
    ),
    "a liveness probe opens the page": (
        lambda seen: app(seen).update(
            livenessProbe={"httpGet": {"path": "/app?x=1", "port": "http"}}
        ),
        "probe-creates-sessions",
        Severity.ERROR,
    ),
    "a container beside the app has no requests": (
        lambda seen: template(seen)["spec"]["containers"].insert(0, {"name": "login"}),
        "no-cpu-request",
        Severity.WARNING,
    ),
    "the exporter has no requests": (
        lambda seen: template(seen)["spec"]["initContainers"][0].pop("resources"),
        "no-cpu-request",
        Severity.WARNING,
    ),
    "there are no requests": (
        lambda seen: app(seen)["resources"]["requests"].pop("cpu"),
        "no-cpu-request",
        Severity.WARNING,
    ),
    "there are no limits": (
        lambda seen: app(seen).update(resources={"requests": {"cpu": "1"}}),
        "no-memory-limit",
        Severity.WARNING,
    ),
    "less memory is requested than may be used": (
        lambda seen: app(seen)["resources"]["requests"].update(memory="64Mi"),
        "memory-not-reserved",
        Severity.NOTE,
    ),
    "nobody signs": (
        lambda seen: app(seen).pop("envFrom"),
        "no-signing-key",
        Severity.WARNING,
    ),
    "there is a key and nobody signs": (
        lambda seen: app(seen).update(
            envFrom=[], env=[{"name": "BOKEH_SECRET_KEY", "value": "secret"}]
        ),
        "no-signing-key",
        Severity.WARNING,
    ),
    "each pod signs with its own key": (
        lambda seen: app(seen).update(
            envFrom=[], env=[{"name": "BOKEH_SIGN_SESSIONS", "value": "yes"}]
        ),
        "no-signing-key",
        Severity.ERROR,
    ),
    "tokens are valid for five minutes": (
        lambda seen: app(seen)["args"].remove("--session-token-expiration=86400"),
        "token-expires-early",
        Severity.WARNING,
    ),
    "tokens are valid for five minutes by the line of a shell": (
        lambda seen: app(seen).update(
            command=[
                "sh",
                "-c",
                "exec bokeh-exporter launch -- bokeh serve . --unused-session-lifetime '60000'",
            ],
            args=[],
        ),
        "token-expires-early",
        Severity.WARNING,
    ),
    "every site may open WebSockets by a variable": (
        lambda seen: app(seen)["env"].append({"name": "BOKEH_ALLOW_WS_ORIGIN", "value": "a.b,*"}),
        "any-origin-allowed",
        Severity.WARNING,
    ),
    "every site may open WebSockets": (
        lambda seen: app(seen)["args"].append("--allow-websocket-origin=*"),
        "any-origin-allowed",
        Severity.WARNING,
    ),
    "several pods without affinity": (
        lambda seen: (
            service(seen)["spec"].pop("sessionAffinity"),
            seen["deployment"]["spec"].update(replicas=2),
        ),
        "no-session-affinity",
        Severity.WARNING,
    ),
    "an ingress without cookies": (
        lambda seen: (
            seen["deployment"]["spec"].update(replicas=2),
            seen["ingresses"].append(ingress()),
        ),
        "no-session-affinity",
        Severity.WARNING,
    ),
}


def ingress(**annotations: str) -> Any:
    path = {"path": "/", "backend": {"service": {"name": "bokeh-app", "port": {"number": 80}}}}
    web = named("web", rules=[{"host": "app.example.com", "http": {"paths": [path]}}])
    web["metadata"]["annotations"] = annotations
    return web


def test_nothing_is_found_in_what_we_ship() -> None:
    assert found(facts(right())) == {}


def test_the_key_is_in_a_secret_of_this_deployment_which_is_created_first() -> None:
    seen = right()
    app(seen).update(envFrom=[])
    ref = TargetRef("reports", "dashboards-2")

    fix = found(facts(seen, ref=ref))["no-signing-key"].fix

    _, create, text = fix.split("\n", 2)
    assert create.startswith("kubectl -n reports create secret generic dashboards-2 --from-literal")
    [container] = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "app", "envFrom": [{"secretRef": {"name": "dashboards-2"}}]}
    seen["deployment"] = merged(seen["deployment"], yaml.safe_load(text))
    assert "no-signing-key" not in found(facts(seen, ref=ref))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_and_nothing_else(case: str) -> None:
    change, wanted, severity = CASES[case]

    findings = found(broken(change))

    assert list(findings) == [wanted]
    assert findings[wanted].severity is severity
    assert findings[wanted].where
    assert findings[wanted].feel.endswith(".")


def is_applicable(case: str) -> bool:
    """Whether the fix is YAML of the Deployment, which can be added to it as it stands."""
    change, wanted, _ = CASES[case]
    return found(broken(change))[wanted].fix.startswith("spec:\n  template:")


def merged(old: Any, new: Any) -> Any:
    """Both as `kubectl apply` merges them: lists of named things by name, null takes away."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
        return {key: value for key, value in both.items() if value is not None}
    if isinstance(old, list) and isinstance(new, list) and all("name" in e for e in [*old, *new]):
        by_name = {each["name"]: each for each in old}
        return [
            *{**by_name, **{e["name"]: merged(by_name.get(e["name"]), e) for e in new}}.values()
        ]
    return new


def handlers(seen: Seen) -> list[set[str]]:
    """What each probe of the app asks; Kubernetes refuses a probe that asks two things."""
    kinds = ("readinessProbe", "livenessProbe")
    return [set(app(seen)[k]) & {"httpGet", "exec", "tcpSocket"} for k in kinds if k in app(seen)]


@pytest.mark.parametrize("case", [case for case in CASES if is_applicable(case)])
def test_the_fix_of_a_template_cures_it(case: str) -> None:
    change, wanted, _ = CASES[case]
    seen = right()
    change(seen)
    fix = yaml.safe_load(found(facts(seen))[wanted].fix)

    seen["deployment"] = merged(seen["deployment"], fix)

    assert wanted not in found(facts(seen))
    assert all(len(each) == 1 for each in handlers(seen))


def test_the_log_of_a_daemon_that_does_not_run_is_asked_of_all_its_pods() -> None:
    change, wanted, _ = CASES["the daemon is scaled to zero"]

    asked = "kubectl -n bokeh-autoscaler logs -l app.kubernetes.io/name=bokeh-autoscaler --prefix"
    assert found(broken(change))[wanted].fix.endswith(asked)


def test_a_service_whose_pods_are_not_ready_is_not_told_to_select_others() -> None:
    def end_readiness(seen: Seen) -> None:
        seen["endpoint_slices"][0].update(endpoints=[])
        for pod in seen["pods"]:
            pod["status"].update(conditions=[])

    said = found(broken(end_readiness))["service-without-ready-pods"]

    assert said.feel == "The app is down: none of its pods is ready."
    assert ROUTABLE not in said.fix


def test_the_fix_of_a_port_is_a_port_that_the_app_has() -> None:
    """Of the Service: another name in the container would take the old one from the probes."""
    seen = right()
    service(seen)["spec"]["ports"][0].update(targetPort="web")
    fix = yaml.safe_load(found(facts(seen))["service-port-unknown"].fix)

    service(seen)["spec"].update(fix["spec"])

    assert found(facts(seen)) == {}


@pytest.mark.parametrize("case", [case for case in CASES if not is_applicable(case)])
def test_any_other_fix_is_a_command_or_yaml(case: str) -> None:
    change, wanted, _ = CASES[case]
    fix = found(broken(change))[wanted].fix

    assert "kubectl" in fix or "docs/" in fix or isinstance(yaml.safe_load(fix), dict)


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
    "one pod without affinity": lambda seen: service(seen)["spec"].pop("sessionAffinity"),
    "affinity by an ingress": lambda seen: (
        service(seen)["spec"].pop("sessionAffinity"),
        seen["deployment"]["spec"].update(replicas=2),
        seen["ingresses"].append(ingress(**{"nginx.ingress.kubernetes.io/affinity": "cookie"})),
    ),
    "affinity by the cookies of an ALB": lambda seen: (
        seen["deployment"]["spec"].update(replicas=2),
        seen["ingresses"].append(
            ingress(**{"alb.ingress.kubernetes.io/target-group-attributes": STICKY})
        ),
    ),
    "an ingress of another Service": lambda seen: (
        seen["deployment"]["spec"].update(replicas=2),
        seen["ingresses"].append(named("other", rules=[{"host": "b.example.com"}])),
    ),
    "requests that are as large as the limits": lambda seen: app(seen).update(
        resources={"limits": {"cpu": "1", "memory": "384Mi"}}
    ),
    "requests and limits of a LimitRange": lambda seen: (
        app(seen).pop("resources"),
        seen["limit_ranges"].append(named("defaults", limits=[LIMITS])),
    ),
    "a login beside the app with a probe of its own": lambda seen: template(seen)["spec"][
        "containers"
    ].insert(
        0,
        {
            "name": "login",
            "args": ["--upstream=http://127.0.0.1:5006"],
            "readinessProbe": {"httpGet": {"path": "/ping", "port": 4180}},
            "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
        },
    ),
    "a probe by a command that opens no page": lambda seen: app(seen).update(
        livenessProbe={"exec": {"command": ["curl", "localhost:5006/app/metadata"]}}
    ),
    "a launcher that a shell becomes": lambda seen: app(seen).update(
        command=["sh", "-c", f"cd /app && exec bokeh-exporter launch -- {SERVE}"], args=[]
    ),
    "a launcher of zero-touch": lambda seen: app(seen).update(
        command=["python", "/bokeh-exporter", "launch", "--"]
    ),
    "an app as root that trusts the sidecar's user": run_as(0, "1000, 65532"),
    "an app whose image decides, that trusts the sidecar's user": run_as(None, "65532"),
    "an app as the user of the sidecar": run_as(65532),
    "a sidecar as root": lambda seen: (
        run_as(1000)(seen),
        template(seen)["spec"]["initContainers"][0].update(securityContext={"runAsUser": 0}),
    ),
    "a launcher that serves the exporter's pages": lambda seen: (
        template(seen)["spec"].pop("initContainers"),
        app(seen).update(command=["bokeh-exporter", "launch", "--metrics-port=9550", "--"]),
        seen["pods"].clear(),
    ),
    "a probe that creates no session": lambda seen: app(seen).update(
        livenessProbe={"httpGet": {"path": "/app/metadata", "port": "http"}}
    ),
    "no policy of the network": lambda seen: seen["network_policies"].clear(),
    "a policy of the network for other pods": lambda seen: seen["network_policies"].append(
        named("others", podSelector={"matchLabels": {"app": "another"}}, ingress=[])
    ),
    "an exporter that starts": lambda seen: seen["pods"][0]["status"]["initContainerStatuses"][
        0
    ].update(state={"waiting": {"reason": "PodInitializing"}}),
    "pods without the label that end": lambda seen: (
        unlabel_pods(seen),
        [pod["metadata"].update(deletionTimestamp="now") for pod in seen["pods"]],
    ),
    "pods without the label that have ended": lambda seen: (
        unlabel_pods(seen),
        [pod["status"].update(phase="Failed") for pod in seen["pods"]],
    ),
    "a pod that has crashed and is ready again": lambda seen: seen["pods"][0]["status"][
        "containerStatuses"
    ][0].update(lastState={"terminated": {"reason": "Error", "exitCode": 1}}),
    "an Event of a decision": lambda seen: seen["events"].append({"reason": "ScaledUp"}),
    "replicas that the daemon wrote": meta(**written_by("bokeh-autoscaler", "Update")),
    "replicas that were handed over": meta(**written_by("handover", "Apply")),
    "replicas that somebody scaled by hand": meta(**written_by("kubectl", "Update")),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_right_is_not_found(case: str) -> None:
    assert found(broken(FINE[case])) == {}


def unadopted(seen: Seen) -> None:
    """An app that an HPA scales, and nothing of ours."""
    template(seen)["spec"].pop("initContainers")
    seen["pods"].clear()
    seen["autoscalers"].append(named("cpu", **SCALES))


NOBODY = {"the daemon has other policies": DaemonPolicies(), "there is no daemon": None}


@pytest.mark.parametrize("case", NOBODY)
def test_an_app_that_is_not_adopted_is_told_first_with_the_command_of_the_adoption(
    case: str,
) -> None:
    seen = right()
    unadopted(seen)
    if NOBODY[case] is None:
        seen.update(daemon=None, absent=frozenset({"daemon"}))

    said = found(facts(seen, daemon_policies=NOBODY[case]))

    command = "autoscaler init --namespace bokeh --deployment bokeh-app"
    assert next(iter(said)) == "not-adopted"
    assert said["not-adopted"].fix.endswith(command)
    assert said["other-autoscaler"].fix.endswith(command)
    assert "kubectl -n bokeh delete" not in said["other-autoscaler"].fix
    assert "kubectl apply -k deploy/kubernetes/recommended" not in str(said)


def test_an_hpa_without_a_policy_in_its_place_is_converted_before_it_is_deleted() -> None:
    seen = right()
    seen["autoscalers"].append(named("cpu", **SCALES))

    fix = found(facts(seen, daemon_policies=DaemonPolicies()))["other-autoscaler"].fix

    get = "kubectl -n bokeh get horizontalpodautoscaler cpu -o yaml"
    assert fix.endswith(f"{get} | autoscaler convert -")


@pytest.mark.parametrize("most", [{"maxReplicas": 4}, {"maxReplicaCount": 4}, {}])
def test_the_pods_that_another_autoscaler_may_add_need_affinity(most: dict[str, int]) -> None:
    seen = right()
    service(seen)["spec"].pop("sessionAffinity")
    seen["scaled_objects"].append(named("other", **SCALES, **most))

    assert "no-session-affinity" in found(facts(seen))


def test_without_knowing_the_policies_nobody_says_that_an_app_is_not_adopted() -> None:
    unread = DaemonPolicies(unread=("not allowed to get configmaps",))
    seen = right()
    unadopted(seen)

    for policies in (unread, None):
        assert "not-adopted" not in found(facts(seen, daemon_policies=policies))


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
        seen.update(
            dict.fromkeys([*lists, "daemon"], None), unexamined=["not allowed to list pods"]
        )

    seen = broken(read_nothing)

    assert found(seen) == {}
    assert seen.unexamined == ("not allowed to list pods",)


def test_the_rights_are_those_of_the_role_that_we_ship() -> None:
    asked = {(each.verb, each.resource) for each in needed(REF, DAEMON.namespace, DAEMON.name, 1)}

    assert asked == set(single_rights())


COMPONENT = FOLDER / "components" / "scaling-policies" / "rbac.yaml"


def test_for_scaling_policies_they_are_those_of_the_component_too() -> None:
    files = needed(REF, DAEMON.namespace, DAEMON.name, 1)
    objects = needed(REF, DAEMON.namespace, DAEMON.name, 1, by_objects=True)

    role = next(each for each in yaml.safe_load_all(COMPONENT.read_text()) if "rules" in each)
    assert {(each.verb, each.resource, each.name) for each in objects[len(files) :]} == {
        (verb, resource, "")
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize(
    ("arguments", "leases", "objects"),
    [
        ([], True, False),
        (["--lease=none"], False, False),
        (["--scaling-policies=other", "--scaling-policies", "bokeh"], True, True),
        (["--scaling-policies=*"], True, True),
        (["--scaling-policies=other"], True, False),
    ],
)
def test_the_rights_are_those_that_the_arguments_of_the_daemon_need(
    arguments: list[str], *, leases: bool, objects: bool
) -> None:
    daemon = right()["daemon"]
    [container] = daemon["spec"]["template"]["spec"]["containers"]
    container["args"] = [*container["args"], *arguments]

    resources = {each.resource for each in needed_by(daemon, REF)}

    assert ("leases" in resources, "scalingpolicies" in resources) == (leases, objects)


@pytest.mark.parametrize(
    ("metric", "lacks", "wanted"),
    [
        ({"type": "cpu", "utilization": "70%"}, "requests", "no-cpu-request"),
        ({"type": "memory", "utilization": "70%"}, "limits", "no-memory-limit"),
    ],
)
def test_what_a_metric_of_the_policy_needs_is_an_error(
    metric: dict[str, str], lacks: str, wanted: str
) -> None:
    seen = right()
    app(seen)["resources"].pop(lacks)
    policy = a_policy(metric)

    said = found(facts(seen, policy=policy))

    assert said[wanted].severity is Severity.ERROR


def test_a_policy_that_is_paused_is_noted() -> None:
    policy = a_policy({"type": "sessions", "seats": 20}).model_copy(update={"paused": True})

    assert list(found(facts(right(), policy=policy))) == ["paused"]


def test_the_annotation_of_a_pause_is_noted() -> None:
    note = meta(annotations={"bokeh-autoscaler/paused": "INC-7"})

    assert "INC-7" in found(broken(note))["paused"].where


def test_without_drains_nobody_needs_the_label() -> None:
    sessions = {"type": "sessions", "seats": 20}
    policy = a_policy(sessions).model_copy(update={"drain": None})

    for change in (unlabel, unlabel_pods, select_by_label):
        seen = right()
        change(seen)
        assert found(facts(seen, policy=policy)) == {}


def a_policy(metric: dict[str, Any]) -> Policy:
    return Policy.model_validate(
        {
            "name": "app",
            "target": {"namespace": "bokeh", "deployment": "bokeh-app"},
            "replicas": {"min": 2, "max": 20},
            "metrics": [metric],
        }
    )
