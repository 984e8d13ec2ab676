"""`make cluster`: everything we ship on a real node, with addresses that this machine can open.

The node's network is its own. So the sockets that a browser connects to are opened out here, and
handed in: a socket stays in the network that it was made in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.deploy.pages import KUBERNETES_PAGE, commands
from tests.lab import real_node as one_node
from tests.lab.access import Access
from tests.lab.images import OURS
from tests.lab.stack import names_of_the_tutorial, overlay
from tests.lab.worker_node import tag_image

NAMESPACE = "bokeh"  # of the apps
OWN = "bokeh-autoscaler"  # of the daemon and Prometheus


@dataclass(frozen=True)
class Door:
    """What a pod serves: its label, its port, and the port out here if that is free.

    Without a label: what somebody runs on loopback in the node's network.
    """

    title: str
    namespace: str
    app: str
    port: int
    path: str


DOORS = (
    Door("the app", NAMESPACE, "sticky-haproxy", 8080, "/app"),
    Door("the daemon's metrics", OWN, "bokeh-autoscaler", 9551, "/metrics"),
    # As built here it has no pages of its own.
    Door("the dashboard", "", "", 9552, "/"),
    Door("Prometheus", OWN, "prometheus", 9090, "/api/v1/query?query=bokeh_sessions"),
)

# What a visitor sees differently: pods that are full with four users, and a log for people.
POLICY = """\
name: bokeh-app
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 2, max: 10}
metrics:
  - {type: sessions, seats: 4, spare: 2}
behavior:
  scaleDown: {stabilizationWindowSeconds: 60}
"""
FORMAT = "/spec/template/spec/containers/0/args/4"
TOUR = {
    ("ConfigMap", "bokeh-autoscaler-policies"): [
        {"op": "replace", "path": "/data/bokeh-app.yaml", "value": POLICY},
    ],
    ("Deployment", "bokeh-autoscaler"): [
        {"op": "test", "path": FORMAT, "value": "--log-format=json"},
        {"op": "replace", "path": FORMAT, "value": "--log-format=text"},
    ],
}
USERS = f"{Path(sys.executable).with_name('autoscaler')} users"


def listen(port: int) -> socket.socket:
    """A socket on loopback: on that port, or on any if somebody has it."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def address(access: Access, door: Door) -> str:
    """Of a Ready pod behind it. Raises LookupError."""
    if not door.app:
        return "127.0.0.1"
    pods = access.core.list_namespaced_pod(
        door.namespace, label_selector=f"app.kubernetes.io/name={door.app}"
    ).items
    ready = [
        pod.status.pod_ip
        for pod in pods
        for condition in pod.status.conditions or ()
        if condition.type == "Ready" and condition.status == "True" and pod.status.pod_ip
    ]
    if not ready:
        raise LookupError(f"no pod of {door.app} is ready")
    return str(min(ready))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


async def open_door(access: Access, door: Door, listener: socket.socket) -> asyncio.Server:
    """Forward every connection to `listener` to a pod behind the door."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host = await asyncio.to_thread(address, access, door)
            inner = await asyncio.open_connection(host, door.port)
        except (LookupError, OSError):
            writer.close()
            return
        await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))

    return await asyncio.start_server(forward, sock=listener)


async def serve(access: Access, listeners: list[socket.socket]) -> None:
    """Until Ctrl-C."""
    stop = asyncio.Event()
    for number in one_node.STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for door, listener in zip(DOORS, listeners, strict=True):
        await open_door(access, door, listener)
    await stop.wait()


def apply(*, tour: bool = False) -> None:
    """`kubectl apply -k` of the overlay; returns when the app serves. Raises CalledProcessError.

    tour: whether somebody looks at it, who needs the proxy and small pods. Commands, such as tests,
    find what the manifests say.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = overlay(Path(name), ("prometheus", "sticky-haproxy") if tour else ("prometheus",))
        if tour:
            _patch(folder / "kustomization.yaml")
        subprocess.run(["kubectl", "apply", "-k", str(folder)], check=True)
    make_secrets()
    deployments = [(door.namespace, door.app) for door in DOORS[0 if tour else 1 :] if door.app]
    for namespace, app in ((NAMESPACE, "bokeh-app"), *deployments):
        wait = ("--namespace", namespace, "rollout", "status", "--timeout=300s")
        subprocess.run(["kubectl", *wait, f"deployment/{app}"], check=True)


def _patch(kustomization: Path) -> None:
    """Add what the tour changes, as an operator would in an overlay."""
    content = yaml.safe_load(kustomization.read_text())
    content["patches"] = [
        {"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(operations)}
        for (kind, name), operations in TOUR.items()
    ]
    kustomization.write_text(yaml.safe_dump(content))


def make_secrets() -> None:
    """The keys that pods wait for, by the page's lines; those that are there stay."""
    for line in commands(KUBERNETES_PAGE):
        if found := re.match(r"(kubectl -n \S+) create secret generic (\S+)", line):
            there = f"{found[1]} get secret {found[2]} > /dev/null 2>&1"
            subprocess.run(["sh", "-c", f"{there} || {line}"], check=True)


def name_images(admin: Path) -> None:
    """Give the node's images the names by which the tutorial pulls them: it has no registry."""
    for tag, image in names_of_the_tutorial().items():
        tag_image(admin.parent / "node-1", image, tag)


def inside(options: argparse.Namespace) -> int:
    admin = Path(os.environ["KUBECONFIG"])
    if options.bare:
        name_images(admin)
    else:
        apply(tour=not options.command)
    print(f"everything ready after {time.time() - options.began:.0f} s", flush=True)
    if options.command:
        return subprocess.run(["sh", "-c", options.command], check=False).returncode
    listeners = [socket.socket(fileno=number) for number in options.fd]
    urls = [
        f"http://127.0.0.1:{listener.getsockname()[1]}{door.path}"
        for door, listener in zip(DOORS, listeners, strict=True)
    ]
    tell(admin, urls, options.named, bare=options.bare)
    asyncio.run(serve(Access(admin, admin.parent), listeners))
    return 0


def tell(admin: Path, urls: Sequence[str], own: Sequence[str], *, bare: bool) -> None:
    """Print what a person needs to use the cluster. bare: nothing of ours runs yet.

    own: the names of images that the person brought.
    """
    for door, url in zip(DOORS, urls, strict=True):
        print(f"{door.title:22} {url}{'    (once it runs)' if bare or not door.app else ''}")
    if not bare:
        print(f"20 users for it:       {USERS} {urls[0]} 20")
    print(f"in another terminal:   {one_node.kubectl_from_outside(admin)}")
    print("                       kubectl get pods --all-namespaces")
    print(f"any program in there:  {one_node.any_from_outside(admin)}")
    print(f"                       inside {'kubectl get nodes' if bare else 'autoscaler status'}")
    images = names_of_the_tutorial() if bare else [f"localhost/{name}:test" for name in OURS]
    print(f"images on the node:    {' '.join([*images, *own])}")
    print("Ctrl-C ends it all.", flush=True)


def tags_of(archive: Path) -> list[str]:
    """Return the names of an image that `docker save` wrote."""
    with tarfile.open(archive) as content:
        member = content.extractfile("manifest.json")
        assert member is not None
        return [tag for each in json.load(member) for tag in each["RepoTags"] or ()]


def outside(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listen(door.port)) for door in DOORS]
        numbers = [str(listener.fileno()) for listener in listeners]
        kept = [word for number in numbers for word in ("--keep-fd", number)]
        given = [word for number in numbers for word in ("--fd", number)]
        inner = [sys.executable, "-m", "tests.lab.live_cluster", "--inside", *given]
        inner += ["--began", str(time.time()), options.command]
        inner += ["--bare"] if options.bare else []
        skip = ["--or-skip"] if options.or_skip else []
        inner += [word for image in options.image for word in ("--named", *tags_of(Path(image)))]
        given_images = [word for image in options.image for word in ("--image", image)]
        return one_node.main(["--stack", *skip, *given_images, *kept, "--", *inner])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.live_cluster", description=__doc__)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fd", action="append", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--named", nargs="*", action="extend", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--or-skip", action="store_true", help="as of tests.lab.real_node")
    parser.add_argument("--bare", action="store_true", help="apply nothing; only load the images")
    parser.add_argument(
        "--image", action="append", default=[], metavar="ARCHIVE", help="of `docker save`, to load"
    )
    parser.add_argument("command", nargs="?", default="", help="a shell line to run in it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return inside(options) if options.inside else outside(options)


if __name__ == "__main__":
    sys.exit(main())
