"""Pods of the scripted node that run: each has a real Bokeh server and a real sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.access import raw
from tests.lab.bokeh_servers import (
    APP,
    EXPORTER,
    QUICK,
    Served,
    bokeh_serve,
    end,
    instance_at,
    start,
)
from tests.lab.processes import wait_until
from tests.lab.world import WITHIN, World


@dataclass(frozen=True)
class RealPod:
    """One pod, and the server that runs in it."""

    name: str
    address: str
    server: Served


@contextmanager
def real_pods(world: World, count: int, token: Path, app: str = APP) -> Iterator[Sequence[RealPod]]:
    """Deploy so many pods, the oldest first, and tell Prometheus of their users.

    token: the file with the token of their sidecars. A pod that is deleted has no successor here,
    so the younger pods must be deleted first.
    """
    world.users.answers = False  # the sidecars are real
    world.deploy(count)
    with ExitStack() as stack:
        pods = [
            RealPod(name, address, stack.enter_context(_running(world, address, token, app)))
            for name, address in wait_until(lambda: _placed(world, count), WITHIN, "the pods")
        ]
        world.users.per_pod = lambda index: pods[index].server.connected()
        yield pods
        world.users.per_pod = lambda _: 0


def _placed(world: World, count: int) -> list[tuple[str, str]]:
    """Name and address of each pod, once all have one; the oldest first."""
    found = raw(world.access.core.list_namespaced_pod, world.namespace)["items"]
    found.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    pods = [(pod["metadata"]["name"], pod["status"].get("podIP", "")) for pod in found]
    return pods if len(pods) == count and all(address for _, address in pods) else []


@contextmanager
def _running(world: World, address: str, token: Path, app: str) -> Iterator[Served]:
    """A server, and a sidecar of it at the address of a pod, which no process has otherwise."""
    folder = world.folder / address
    folder.mkdir()
    with bokeh_serve(folder, *QUICK, app=app) as server:
        server.wait_workers(1)
        port = str(urlsplit(server.url).port)
        line = [*EXPORTER, "sidecar", "--instance", instance_at("127.0.0.1", int(port))]
        line += ["--app-port", port, "--token-file", str(token)]
        line += ["--address", address, "--port", str(world.users.sidecars.port)]
        with (folder / "sidecar.log").open("wb") as output:
            sidecar = start(line, folder, output)
        try:
            yield server
        finally:
            end(sidecar)
