"""`autoscaler dashboard`: a live page of what the daemon sees, decides and costs."""

from __future__ import annotations

import argparse
import re

from autoscaler.adapters.clock import SystemClock
from autoscaler.commands import connect, status
from autoscaler.commands.arguments import address, timezone
from autoscaler.commands.lines import complain, say
from autoscaler.errors import AutoscalerError

FAILED = 1
# Seconds between two looks at the daemon.
EVERY = 2.0
# Seconds; a week of many pods takes longer than the queries of the daemon.
QUERY_TIMEOUT = 30.0
# How the options for Prometheus begin, which the simulation of an edit needs.
OURS = ("prometheus_", "scrape_interval")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    page = parser.add_argument_group("page")
    page.add_argument(
        "--listen",
        metavar="[HOST]:PORT",
        type=address,
        default=("127.0.0.1", 9552),
        help="address on which to serve the page, which has no authentication of its own "
        "(default: 127.0.0.1:9552)",
    )
    page.add_argument(
        "--prefix",
        metavar="PATH",
        type=_prefix,
        default="",
        help="path below which a proxy serves the page, such as /autoscaler",
    )
    page.add_argument(
        "--allow-origin",
        metavar="HOST[:PORT]",
        action="append",
        default=[],
        help="host by which browsers open the page through a proxy, as their address shows it "
        "(repeatable; default: localhost and the port of --listen)",
    )
    page.add_argument(
        "--timezone",
        type=timezone,
        metavar="NAME",
        help="time zone of the page, such as Europe/Berlin (default: that of this machine)",
    )
    status.add_daemon(parser.add_argument_group("daemon"))
    connect.add_prometheus(parser, required=True, timeout=QUERY_TIMEOUT, short=True)
    parser.set_defaults(targets=[], namespaces=[])


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C. Return 1 if it cannot be served."""
    try:
        _serve(args)
    except AutoscalerError as error:
        complain(f"autoscaler dashboard: {error}")
        return FAILED
    except KeyboardInterrupt:
        return 0
    return 0


def _serve(args: argparse.Namespace) -> None:
    from autoscaler.adapters.prometheus.history import PrometheusHistory
    from autoscaler.adapters.prometheus.recent import RecentHistory
    from autoscaler.adapters.workers.one_process import OneProcess
    from autoscaler.commands.what_if import WhatIf
    from autoscaler.dashboard.page import Services
    from autoscaler.dashboard.server import DashboardServer, Place
    from autoscaler.dashboard.sources import Sources
    from autoscaler.reporting.status_report import StatusReport

    settings = connect.prometheus_settings(args, patience=args.prometheus_timeout)
    asking = status.asking(args)

    def ask() -> StatusReport:
        return asking().report

    sources = Sources(
        ask,
        RecentHistory(settings),
        PrometheusHistory(settings),
        SystemClock().now,
        EVERY,
        args.scrape_interval,
    )
    options = {name: value for name, value in vars(args).items() if name.startswith(OURS)}
    services = Services(sources, OneProcess(WhatIf(options)))
    host, port = args.listen
    place = Place(host, port, args.prefix, args.allow_origin)
    server = DashboardServer(place, services, args.timezone)
    server.serve(lambda: say(f"The dashboard is at {server.url}; Ctrl-C ends it."))


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a path, such as /autoscaler")
    return text.rstrip("/")
