"""`/metrics` on the port of the Bokeh server itself, where there is no sidecar and no launcher.

    panel serve app.py --plugins exporter.plugin
    bokeh.server.server.Server(applications, extra_patterns=exporter.plugin.ROUTES)

For a server of one process. With `--num-procs` a scrape would reach a worker at random, so it is
refused with what to do instead. Import it before the server is created: that loads the agent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys

import bokeh.server.tornado
from tornado.web import RequestHandler

import exporter.metrics
from exporter.agent import hooks
from exporter.exposition import render
from exporter.observe import Observer
from exporter.sidecar import PLAIN, Response

INSTANCE = "BOKEH_EXPORTER_INSTANCE"
LAUNCHED = "_bokeh_exporter.agent.hooks"  # the launcher's agent, which is under a private name
UNARMED = "no agent in this server: import exporter.plugin before the Server is created\n"
SEVERAL = (
    "this server has {} workers and a scrape reaches one of them at random: start it with "
    "`bokeh-exporter launch --metrics-port 9550 -- ...`, which serves them together\n"
)


def arm() -> None:
    """Load the agent into this process, unless the launcher has."""
    if LAUNCHED in sys.modules:
        return
    # Of its own, also after the forks of --num-procs: the network may be shared with others.
    os.environ.setdefault(INSTANCE, f"plugin-{secrets.token_hex(4)}")
    hooks.declare(exporter.metrics)
    hooks.install("bokeh.server.tornado", bokeh.server.tornado)


def answer(observer: Observer, accept: str) -> Response:
    """The page, or a 503 that says why there is none."""
    seen = observer.observe()
    workers = len(seen.collected.workers)
    if workers != 1:
        reason = SEVERAL.format(workers) if workers else UNARMED
        return Response(503, PLAIN, reason.encode())
    body, content_type = render(seen, accept)
    return Response(200, content_type, body)


class MetricsHandler(RequestHandler):
    """Collects in a thread, so the event loop goes on meanwhile."""

    def initialize(self, observer: Observer) -> None:
        """Take what ROUTES hands over."""
        self._observer = observer

    async def get(self) -> None:
        """Answer a scrape."""
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
        {"observer": Observer(os.environ.get(INSTANCE, "default"), app_port=0)},
    )
]
