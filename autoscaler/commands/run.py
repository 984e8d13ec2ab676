"""`autoscaler run`: the daemon."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path

from autoscaler.adapters.policy_files import PolicyFiles
from autoscaler.commands import connect
from autoscaler.controller import PassResult, Recorder
from autoscaler.daemon import Daemon
from autoscaler.errors import AutoscalerError
from autoscaler.journal import EventRecorder, Journal, set_up_logging

LOG = logging.getLogger("autoscaler")
LEASE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the daemon."""
    parser.add_argument(
        "--policies",
        metavar="PATH",
        action="append",
        type=Path,
        required=True,
        help="a policy file or a folder of them (repeatable); edits take effect by themselves",
    )
    connect.add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="one pass, then end")
    parser.add_argument("--dry-run", action="store_true", help="decide and say so, change nothing")
    parser.add_argument(
        "--listen",
        metavar="[HOST]:PORT",
        type=_address,
        default=("", 9551),
        help="for /metrics, /healthz and /readyz (default :9551)",
    )
    parser.add_argument(
        "--lease",
        metavar="NAME",
        type=_lease,
        default="bokeh-autoscaler",
        help="of all daemons that share a Lease of this name, one acts in each namespace; "
        "`none` acts without (default bokeh-autoscaler; a dry run takes none)",
    )
    parser.add_argument("--log-format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM, or one pass with --once. 1 if that pass had a problem."""
    set_up_logging(args.log_format)
    try:
        policies = PolicyFiles(args.policies)
        ports = connect.ports(args, policies, None if args.dry_run else args.lease)
    except AutoscalerError as error:
        print(f"autoscaler run: {error}", file=sys.stderr)
        return 1
    recorders: list[Recorder] = [Journal(dry_run=args.dry_run), EventRecorder(ports.cluster)]
    listen = None if args.once else args.listen
    daemon = Daemon(ports, recorders, listen=listen, dry_run=args.dry_run)
    if args.once:
        result = daemon.run_once()
        daemon.release()
        return _verdict(result)
    daemon.stop_on_signals()
    try:
        daemon.run()
    except AutoscalerError as error:
        print(f"autoscaler run: {error}", file=sys.stderr)
        return 1
    return 0


def _verdict(result: PassResult | None) -> int:
    if result is None or result.policies.problems:
        return 1
    if any(standing.stands_by for standing in result.standings.values()):
        return 1
    if not result.outcomes:
        LOG.error("no policy is in force: nothing to do")
        return 1
    return int(any(outcome.problem for outcome in result.outcomes))


def _lease(text: str) -> str | None:
    if text == "none":
        return None
    if not LEASE_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name of a-z, 0-9 and -, or none")
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected [HOST]:PORT, such as :9551")
    return host.strip("[]"), int(port)
