"""`/metrics` on the port of the Bokeh server itself, without a sidecar and without a launcher.

    panel serve app.py --plugins exporter.plugin
    bokeh.server.server.Server(applications, extra_patterns=exporter.plugin.ROUTES)

This works for a server with one process. With `--num-procs` a scrape would reach a random worker,
so the page answers 503 and says what to do instead. Import this module before the server is
created, because the import loads the agent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys

import bokeh.server.tornado
from tornado.web import RequestHandler

import exporter.metrics
from exporter.agent import hooks, pod
from exporter.exposition import render
from exporter.observe import PodObserver
from exporter.web import PLAIN, Response

LAUNCHED = "_bokeh_exporter.agent.hooks"  # the private name under which the launcher loads it
UNARMED = "this server has no agent; import exporter.plugin before the Server is created\n"
SEVERAL = (
    "this server has {} workers and a scrape reaches a random one; start it with "
    "`bokeh-exporter launch --metrics-port 9550 -- ...`, which serves the sums of all workers\n"
)


def arm() -> None:
    """Load the agent into this process, unless the launcher has done so."""
    if LAUNCHED in sys.modules:
        return
    # A unique name, kept over the forks of --num-procs: other servers may share the network.
    os.environ.setdefault(pod.INSTANCE, f"plugin-{secrets.token_hex(4)}")
    hooks.declare(exporter.metrics)
    hooks.install("bokeh.server.tornado", bokeh.server.tornado)


def answer(observer: PodObserver, accept: str) -> Response:
    """Return the page, or a 503 response that says why there is none."""
    seen = observer.observe()
    workers = len(seen.collected.workers)
    if workers != 1:
        reason = SEVERAL.format(workers) if workers else UNARMED
        return Response(503, PLAIN, reason.encode())
    body, content_type = render(seen, accept)
    return Response(200, content_type, body)


class MetricsHandler(RequestHandler):
    """Collects in a thread, so that the event loop keeps running."""

    def initialize(self, observer: PodObserver) -> None:
        """Take the observer from ROUTES."""
        self._observer = observer

    async def get(self) -> None:
        """Respond to a scrape."""
        accept = self.request.headers.get("Accept", "")
        response = await asyncio.to_thread(answer, self._observer, accept)
        self.set_status(response.status)
        self.set_header("Content-Type", response.content_type)
        self.finish(response.body)


arm()
ROUTES = [
    (
        "/metrics",
        MetricsHandler,
        {"observer": PodObserver(pod.instance(), given=None)},
    )
]
