"""What we ship, applied to a real node: ways to look at it, to use it and to break it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client

from autoscaler.adapters.kubernetes.leases import STATE
from autoscaler.adapters.kubernetes.pods import PAUSED
from tests.lab import live_cluster as live
from tests.lab.access import Access
from tests.lab.live_cluster import NAMESPACE, OWN
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User, Users
from tests.lab.worker_node import containerd, import_image, tag_image

APP, DAEMON, PROMETHEUS = "bokeh-app", "bokeh-autoscaler", "prometheus"
NAME_LABEL = "app.kubernetes.io/name"
POLICIES, SCALE = "bokeh-autoscaler-policies", "deployments/scale"
EXPORTER_PORT = 9550
PATIENCE = 45.0  # of a user, in seconds; some are on a pod that is blocked for 20
# A session that does not answer any more is lost too; but a busy server may be late: to discard
# the sessions of 100 users that left together, Bokeh 3.9 stops its loop for half a minute.
ANSWERED_WITHIN = 120.0
SOON = 120.0  # seconds: a pod is there, a decision is made, a scrape has come
ANSWER_WITHIN = 30.0
# The kubelet looks at mounted ConfigMaps once a minute where it is not told otherwise.
KUBELET_SYNC = 180.0
CREATED = re.compile(r'^bokeh_sessions_created_total\{app="/app".*\} (\S+)$', re.MULTILINE)
Json = dict[str, Any]
T = TypeVar("T")


class Shipped:
    """The base in namespace `bokeh`, with Prometheus. ours: the node is the one that we made."""

    def __init__(self, cluster: Access, users: Users, *, ours: bool) -> None:
        self.cluster = cluster
        self.ours = ours
        self.users = users
        self._numbers = count()
        live.apply()

    def kubectl(self, *words: str, text: str | None = None, namespace: str = NAMESPACE) -> str:
        """What it prints. text: its standard input."""
        command = ["kubectl", "--namespace", namespace, *words]
        run = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=300
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
        status = ("rollout", "status", "--timeout=240s", f"deployment/{deployment}")
        self.kubectl(*status, namespace=namespace_of(deployment))

    def restart(self, deployment: str) -> None:
        """Ask for new pods in place of all that there are; does not wait for them."""
        restart = ("rollout", "restart", f"deployment/{deployment}")
        self.kubectl(*restart, namespace=namespace_of(deployment))

    # Users

    def url(self, app: str = APP) -> str:
        """Of the page, through the Service."""
        return f"http://{app}.{NAMESPACE}.svc.cluster.local/app"

    def join(self, number: int = 1, app: str = APP, **arguments: Any) -> list[User]:
        """So many users open the page, each from an address of their own; all of them, or none."""
        url, present = self.url(app), list[User]()
        with ExitStack() as leaving:
            for _ in range(number):
                present.append(self.users.join(url, self._source(), **arguments))
                leaving.callback(self.users.leave, present[-1])
            leaving.pop_all()
        return present

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
        core, namespace = self.cluster.core, namespace_of(app)
        return list(core.list_namespaced_pod(namespace, label_selector=selector).items)

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
        node = self._node(pod.spec.node_name)
        containerd(node, "tasks", "kill", "--signal", "SIGKILL", container)

    def upgrade(self, deployment: str, container: str, image: str) -> None:
        """Another image in a container, as a release brings; a restart where none can be made."""
        if self.ours:
            self.tag_image(f"localhost/{image}:test", f"localhost/{image}:next")
            new = f"{container}=localhost/{image}:next"
            change = ("set", "image", f"deployment/{deployment}", new)
            self.kubectl(*change, namespace=namespace_of(deployment))
        else:
            self.restart(deployment)

    def import_image(self, archive: Path) -> None:
        """Our node gets an image from a docker archive."""
        import_image(self._node(), archive)

    def tag_image(self, image: str, tag: str, node: str = "node-1") -> None:
        """An image that our node has gets one more name there."""
        tag_image(self._node(node), image, tag)

    def _node(self, name: str = "node-1") -> Path:
        return self.cluster.admin.parent / name

    def await_service(self, app: str) -> None:
        """One Ready pod, and a Service that sends to it: its rules follow some seconds later."""
        self.await_ready(1, app)
        self.await_listening(app)

    def await_listening(self, app: str) -> None:
        """A Service that sends to somebody who listens."""
        wait_until(lambda: listens(f"{app}.{NAMESPACE}.svc.cluster.local"), SOON, f"{app} to serve")

    def replicas(self, deployment: str = APP) -> int:
        scale = self.cluster.apps.read_namespaced_deployment_scale(deployment, NAMESPACE)
        return int(scale.spec.replicas)

    def await_replicas(self, number: int, deployment: str = APP, within: float = SOON) -> None:
        """The daemon asks for so many."""
        what = f"{number} replicas of {deployment}"
        self.await_daemon(lambda: self.replicas(deployment) == number, within, what)

    def await_daemon(self, predicate: Callable[[], T], within: float, what: str) -> T:
        """What the daemon is to bring about; where it does not, the failure tells its log."""
        try:
            return wait_until(predicate, within, what)
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
        """One of them, of the daemon's the one that leads; returns when a new one is Ready."""
        there = self.pods(app)
        pod = self.leading() if app == DAEMON else there[0]
        known = {each.metadata.uid for each in there}
        delete = ("delete", "pod", pod.metadata.name, "--wait=false")
        self.kubectl(*delete, namespace=namespace_of(app))

        def another() -> bool:
            return any(each.metadata.uid not in known for each in self.ready_pods(app))

        wait_until(another, SOON, f"another pod of {app}")

    @contextmanager
    def paused(self, why: str) -> Iterator[None]:
        """A time in which the daemon cordons and removes no pod of the app."""
        pause = ("annotate", "deployment", APP, "--overwrite")
        told = f'max(bokeh_autoscaler_paused{{deployment="{APP}"}})'
        self.kubectl(*pause, f"{PAUSED}={why}")
        try:
            wait_until(lambda: self.prometheus(told) == 1, SOON, "the daemon to tell of the pause")
            yield
        finally:
            self.kubectl(*pause, f"{PAUSED}-")

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

    def created(self) -> int:
        """Sessions that the app's pods have ever made, by the word of their sidecars."""
        return sum(map(_created, self.pods()))

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
        url = f"http://{PROMETHEUS}.{OWN}.svc.cluster.local:9090/api/v1/query?{words}"
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

    def leading(self) -> Any:
        """The daemon's pod that leads; if none does, the one that came last."""
        pods = sorted(self.pods(DAEMON), key=lambda pod: pod.metadata.creation_timestamp)
        holder = self.lease().spec.holder_identity or ""
        leading = [pod for pod in pods if holder.startswith(f"{pod.metadata.name}_")]
        return [*pods, *leading][-1]

    def daemon_log(self) -> str:
        """The end of it, of the pod that leads."""
        return self.kubectl("logs", self.leading().metadata.name, "--tail=200", namespace=OWN)

    def lease(self) -> Any:
        """Who acts, and what the next one is to know."""
        coordination = client.CoordinationV1Api(self.cluster.api)
        return coordination.read_namespaced_lease(f"{DAEMON}-0", OWN)

    def last_scale_up(self) -> float:
        """When the app last grew, by the memory of the daemon that acts."""
        entries = json.loads(self.lease().metadata.annotations[STATE])
        return float(next(each["up"] for name, each in entries.items() if f"/{APP}/" in name))

    def reasons(self, deployment: str = APP) -> set[str]:
        """Of the Events that the daemon left on a Deployment."""
        items = self.cluster.core.list_namespaced_event(NAMESPACE).items
        return {
            event.reason
            for event in items
            if event.involved_object.name == deployment and event.source.component == DAEMON
        }

    def write_policy(self, name: str, policy: str | Json | None) -> None:
        """A file of the mounted ConfigMap, as `kubectl edit` would change it; None: removed.

        A policy that is no text may name a Deployment that the daemon's Role does not have yet.
        """
        text = policy
        if isinstance(policy, dict):
            text = yaml.safe_dump(policy)
            self._let_scale(policy["target"]["deployment"])
        patch = json.dumps({"data": {f"{name}.yaml": text}})
        self.kubectl(
            "patch", "configmap", POLICIES, "--type=merge", "--patch", patch, namespace=OWN
        )

    def _let_scale(self, deployment: str) -> None:
        role = json.loads(self.kubectl("get", "role", DAEMON, "--output=json"))
        [names] = [r["resourceNames"] for r in role["rules"] if r["resources"] == [SCALE]]
        if deployment not in names:
            names.append(deployment)
            self.kubectl("replace", "--filename", "-", text=json.dumps(role))


def namespace_of(deployment: str) -> str:
    """Where one of those that we ship or test is."""
    return OWN if deployment in (DAEMON, PROMETHEUS) else NAMESPACE


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


def _created(pod: Any) -> int:
    url = f"http://{pod.status.pod_ip}:{EXPORTER_PORT}/metrics"
    with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:
        return sum(int(float(value)) for value in CREATED.findall(answer.read().decode()))


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or ()
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def listens(host: str, port: int = 80) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), ANSWER_WITHIN).close()
    except OSError:
        return False
    return True
