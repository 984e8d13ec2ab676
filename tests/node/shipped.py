"""What we ship, applied to a real node: ways to look at it, to use it and to break it."""

from __future__ import annotations

import copy
import json
import socket
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from autoscaler.adapters.leases import MEMORY
from tests.cluster import live
from tests.cluster.access import Access
from tests.cluster.live import NAMESPACE
from tests.cluster.objects import ROUTABLE
from tests.cluster.processes import wait_until
from tests.cluster.stack import overlay
from tests.cluster.worker_node import SOCKET
from tests.websocket_user import User, Users

APP, DAEMON, PROMETHEUS = "bokeh-app", "bokeh-autoscaler", "prometheus"
NAME_LABEL = "app.kubernetes.io/name"
POLICIES = "bokeh-autoscaler-policies"
EXPORTER_PORT = 9550
PATIENCE = 45.0  # of a user, in seconds; some are on a pod that is blocked for 20
# A session that does not answer any more is lost too; but a busy server may be late: to discard
# the sessions of 100 users that left together, Bokeh 3.9 stops its loop for half a minute.
ANSWERED_WITHIN = 120.0
SOON = 60.0  # seconds: a pod is there, a decision is made, a scrape has come
ANSWER_WITHIN = 5.0
# The kubelet looks at mounted ConfigMaps once a minute where it is not told otherwise.
KUBELET_SYNC = 120.0
Json = dict[str, Any]


class Shipped:
    """The base in namespace `bokeh`, with Prometheus. ours: the node is the one that we made."""

    def __init__(self, cluster: Access, users: Users, *, ours: bool) -> None:
        self.cluster = cluster
        self.ours = ours
        self.users = users
        self._numbers = count()
        live.apply()

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """What it prints. text: its standard input."""
        command = ["kubectl", "--namespace", NAMESPACE, *words]
        run = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=120
        )
        assert run.returncode == 0, f"{' '.join(command)}: {run.stderr}"
        return run.stdout

    def apply(self, objects: Sequence[Json]) -> None:
        self.kubectl("apply", "--filename", "-", text=yaml.safe_dump_all(objects))

    def remove(self, objects: Sequence[Json]) -> None:
        """Ask for their end; does not wait for it."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("delete", "--ignore-not-found", "--wait=false", "--filename", "-", text=text)

    def rolled_out(self, deployment: str) -> None:
        self.kubectl("rollout", "status", "--timeout=110s", f"deployment/{deployment}")

    # Users

    def url(self, app: str = APP) -> str:
        """Of the page, through the Service."""
        return f"http://{app}.{NAMESPACE}.svc.cluster.local/app"

    def join(self, number: int = 1, app: str = APP, **arguments: Any) -> list[User]:
        """So many users open the page, each from an address of their own."""
        url = self.url(app)
        return [self.users.join(url, self._source(), **arguments) for _ in range(number)]

    def _source(self) -> str | None:
        """An address for every user on our own node, for the Service sends by address."""
        number = next(self._numbers)
        return f"10.1.{number // 250 % 256}.{number % 250 + 1}" if self.ours else None

    def all_connected(self, users: Sequence[User]) -> bool:
        return all(map(self.users.is_connected, users))

    # Pods

    def pods(self, app: str = APP) -> list[Any]:
        """Those that are not about to end."""
        return [pod for pod in self.all_pods(app) if pod.metadata.deletion_timestamp is None]

    def all_pods(self, app: str = APP) -> list[Any]:
        selector = f"{NAME_LABEL}={app}"
        return list(self.cluster.core.list_namespaced_pod(NAMESPACE, label_selector=selector).items)

    def ready_pods(self, app: str = APP) -> list[Any]:
        return [pod for pod in self.pods(app) if _is_ready(pod)]

    def all_open(self) -> bool:
        """Whether nobody is known to be there, and new users may be sent to every pod."""
        open_pods = [pod.metadata.labels[ROUTABLE] == "true" for pod in self.pods()]
        return all(open_pods) and self.scraped() == 0

    def await_ready(self, number: int, app: str = APP) -> list[Any]:
        """So many pods, all Ready, and no other."""

        def there() -> list[Any] | None:
            pods = self.pods(app)
            return pods if len(pods) == number and all(map(_is_ready, pods)) else None

        return wait_until(there, SOON, f"{number} Ready pods of {app}") or []

    def kill_container(self, pod: Any, status: Any) -> None:
        """SIGKILL from the node: from inside, the first process of a container cannot be killed."""
        container = status.container_id.removeprefix("containerd://")
        self._containerd(pod.spec.node_name, "tasks", "kill", "--signal", "SIGKILL", container)

    def upgrade(self, deployment: str, container: str, image: str) -> None:
        """Another image in a container, as a release brings; a restart where none can be made."""
        if self.ours:
            self.tag_image(f"localhost/{image}:test", f"localhost/{image}:next")
            new = f"{container}=localhost/{image}:next"
            self.kubectl("set", "image", f"deployment/{deployment}", new)
        else:
            self.kubectl("rollout", "restart", f"deployment/{deployment}")

    def import_image(self, archive: Path, node: str = "node-1") -> None:
        """Our node gets an image from a docker archive."""
        self._containerd(node, "images", "import", "--no-unpack", str(archive))

    def tag_image(self, image: str, tag: str, node: str = "node-1") -> None:
        """An image that our node has gets one more name there."""
        self._containerd(node, "images", "tag", "--force", image, tag)

    def _containerd(self, node: str, *words: str) -> None:
        address = self.cluster.admin.parent / node / SOCKET
        subprocess.run(
            ["ctr", "--address", str(address), "--namespace", "k8s.io", *words],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def await_service(self, app: str) -> None:
        """One Ready pod, and a Service that sends to it: its rules follow some seconds later."""
        self.await_ready(1, app)
        wait_until(
            lambda: _listens(f"{app}.{NAMESPACE}.svc.cluster.local"), SOON, f"{app} to serve"
        )

    def replicas(self, deployment: str = APP) -> int:
        scale = self.cluster.apps.read_namespaced_deployment_scale(deployment, NAMESPACE)
        return int(scale.spec.replicas)

    def await_replicas(self, number: int, deployment: str = APP, within: float = SOON) -> None:
        """The daemon asks for so many."""
        try:
            what = f"{number} replicas of {deployment}"
            wait_until(lambda: self.replicas(deployment) == number, within, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the daemon said:\n{self.daemon_log()}") from None

    def told_of_terminating_pods(self) -> str:
        """What each of them, and its sidecar, says now."""
        pods = self.cluster.core.list_namespaced_pod(NAMESPACE).items
        terminating = [pod for pod in pods if pod.metadata.deletion_timestamp is not None]
        return "\n".join(
            f"{pod.metadata.name}: {self.state(pod)}\n"
            f"{self.kubectl('logs', pod.metadata.name, '--all-containers', '--tail=20')}"
            for pod in terminating
        )

    def delete_pod(self, app: str) -> None:
        """The only one; returns when another is Ready."""
        (pod,) = self.pods(app)
        self.kubectl("delete", "pod", pod.metadata.name, "--wait=false")

        def another() -> bool:
            return any(p.metadata.uid != pod.metadata.uid for p in self.ready_pods(app))

        wait_until(another, SOON, f"another pod of {app}")

    # Numbers

    def state(self, pod: Any) -> Json | None:
        """What its sidecar says; None while there is none."""
        url = f"http://{pod.status.pod_ip}:{EXPORTER_PORT}/state"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:
                state: Json = json.load(answer)
        except OSError:
            return None
        return state

    def connected(self, app: str = APP) -> int:
        """Users by the word of all sidecars."""
        states = [self.state(pod) for pod in self.ready_pods(app)]
        return sum(state["sessions"]["connected"] for state in states if state)

    def await_connected(self, number: int, app: str = APP) -> None:
        """So many users: a sidecar that gets no answer in a busy moment tells what it last knew."""
        try:
            wait_until(lambda: self.connected(app) == number, SOON, f"{number} users of {app}")
        except AssertionError as error:
            said = {pod.metadata.name: self.state(pod) for pod in self.all_pods(app)}
            raise AssertionError(f"{error}; the sidecars say:\n{json.dumps(said)}") from None

    def prometheus(self, query: str) -> float | None:
        """The single value of a query; None while there is none."""
        words = urllib.parse.urlencode({"query": query})
        url = f"http://{PROMETHEUS}.{NAMESPACE}.svc.cluster.local:9090/api/v1/query?{words}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return None
        return float(result[0]["value"][1]) if result else None

    def scraped(self, app: str = APP) -> float | None:
        """Users by the word of Prometheus."""
        return self.prometheus(f'sum(bokeh_sessions{{state="connected",pod=~"{app}-.*"}})')

    # The daemon

    def daemon_log(self) -> str:
        """The end of it, of the pod that came last."""
        pods = sorted(self.pods(DAEMON), key=lambda pod: pod.metadata.creation_timestamp)
        return self.kubectl("logs", pods[-1].metadata.name, "--tail=200")

    def lease(self) -> Any:
        """Who acts, and what the next one is to know."""
        coordination = client.CoordinationV1Api(self.cluster.api)
        return coordination.read_namespaced_lease(DAEMON, NAMESPACE)

    def last_scale_up(self) -> float:
        """When the app last grew, by the memory of the daemon that acts."""
        entries = json.loads(self.lease().metadata.annotations[MEMORY])
        return float(next(each["up"] for name, each in entries.items() if name.startswith(APP)))

    def reasons(self, deployment: str = APP) -> set[str]:
        """Of the Events that the daemon left on a Deployment."""
        items = self.cluster.core.list_namespaced_event(NAMESPACE).items
        return {
            event.reason
            for event in items
            if event.involved_object.name == deployment and event.source.component == DAEMON
        }

    def write_policy(self, name: str, policy: str | Json | None) -> None:
        """A file of the mounted ConfigMap, as `kubectl edit` would change it; None: removed."""
        text = yaml.safe_dump(policy) if isinstance(policy, dict) else policy
        patch = json.dumps({"data": {f"{name}.yaml": text}})
        self.kubectl("patch", "configmap", POLICIES, "--type=merge", "--patch", patch)


def policy(deployment: str = APP, **overrides: Any) -> Json:
    """The shipped policy, for any app, with short waits for a test that has no five minutes."""
    return {
        "name": deployment,
        "target": {"namespace": NAMESPACE, "deployment": deployment},
        "replicas": {"min": 2, "max": 10},
        "interval": "2s",
        "metrics": [{"type": "sessions", "seats": 20, "spare": 10}],
        "behavior": {
            "scaleUp": {"policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]},
            "scaleDown": {"stabilizationWindowSeconds": 5},
        },
        "drain": {"settle": "5s", "reconnect": "5s"},
        **overrides,
    }


def shipped_app(
    name: str,
    code: str | None = None,
    *args: str,
    components: Sequence[str] = (),
    **resources: str,
) -> list[Json]:
    """The shipped example under another name: its Deployment, Service and PodDisruptionBudget.

    code: another app.py. args: after those of `bokeh serve`. components: that change the app.
    resources: limits of the app.
    """
    objects = [each for each in _rendered(components) if each["metadata"]["name"] == APP]
    objects = [_renamed(each, name) for each in objects]
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["args"] += args
    for kind in ("requests", "limits"):
        container["resources"][kind].update(resources)
    if code is not None:
        objects.append(_code(name, code))
        _mount(deployment["spec"]["template"]["spec"], f"{name}-code")
    return objects


def component(name: str) -> list[Json]:
    """What a component adds to the base."""
    base = {_identity(each) for each in _rendered([])}
    return [each for each in _rendered([name]) if _identity(each) not in base]


def _identity(each: Json) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


def _rendered(components: Sequence[str]) -> list[Json]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["kubectl", "kustomize", str(overlay(Path(folder), components))]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(text))


def _renamed(original: Mapping[str, Any], name: str) -> Json:
    """With the labels and selectors that go with its name."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: name if key in (NAME_LABEL, "name") and inner == APP else renamed(inner)
                for key, inner in value.items()
            }
        return [renamed(each) for each in value] if isinstance(value, list) else value

    return dict(renamed(copy.deepcopy(dict(original))))


def _code(name: str, code: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-code", "namespace": NAMESPACE},
        "data": {"app.py": code},
    }


def _mount(spec: Json, config_map: str) -> None:
    spec["volumes"].append({"name": "code", "configMap": {"name": config_map}})
    spec["containers"][0]["volumeMounts"].append(
        {"name": "code", "mountPath": "/app/app.py", "subPath": "app.py", "readOnly": True}
    )


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or ()
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def _listens(host: str) -> bool:
    try:
        socket.create_connection((host, 80), ANSWER_WITHIN).close()
    except OSError:
        return False
    return True
