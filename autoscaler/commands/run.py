"""`autoscaler run`: run the daemon."""

from __future__ import annotations

import argparse
import errno
import gc
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NoReturn

from autoscaler.adapters.journals import RotatingFile
from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.commands import connect
from autoscaler.commands.arguments import add_price, address, whole
from autoscaler.commands.lines import complain
from autoscaler.control.changes import PATIENCE
from autoscaler.control.controller import WRITES_PER_SECOND
from autoscaler.control.pass_result import PassResult, Recorder
from autoscaler.core.lease import Place
from autoscaler.core.shards import MOST_SHARDS
from autoscaler.daemon import Daemon
from autoscaler.errors import AutoscalerError
from autoscaler.reporting.event_recorder import EventRecorder
from autoscaler.reporting.journal import Journal
from autoscaler.reporting.logs import LogRecorder, set_up_logging
from autoscaler.reporting.notices import NoticeRecorder
from autoscaler.reporting.resource_status import ResourceStatuses

LOG = logging.getLogger("autoscaler")
# Errors of a disk without room; they end the journal and nothing else, also at the start.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Seconds that the end of the process waits for the journal.
WRITTEN_WITHIN = 0.5
# Where a pod finds the namespace that it runs in.
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# The answer of Prometheus for 10,000 pods makes so many objects, none of them in a cycle. With the
# usual 700, searches for cycles among them take half of the CPU time of a pass.
YOUNG_OBJECTS = 200_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the daemon."""
    parser.add_argument(
        "--policies",
        metavar="PATH",
        action="append",
        type=Path,
        default=[],
        help="policy file, or directory of policy files (repeatable); edited files are reloaded",
    )
    parser.add_argument(
        "--scaling-policies",
        metavar="NAMESPACE",
        action="append",
        type=_namespace,
        default=[],
        help="namespace whose ScalingPolicies are policies too (repeatable), or '*' for all "
        "namespaces; at least one of this and --policies is required",
    )
    connect.add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="run one reconcile pass, then exit")
    parser.add_argument(
        "--dry-run", action="store_true", help="only log the decisions; change nothing"
    )
    parser.add_argument(
        "--listen",
        metavar="[HOST]:PORT",
        type=address,
        default=("", 9551),
        help="address on which to serve /metrics, /status, /healthz and /readyz (default: :9551)",
    )
    parser.add_argument(
        "--lease",
        metavar="NAME",
        type=_lease,
        default="bokeh-autoscaler",
        help="name of the Leases for leader election, NAME-0 and so on; `none` disables it "
        "(default: bokeh-autoscaler; ignored with --dry-run)",
    )
    parser.add_argument(
        "--lease-namespace",
        metavar="NAMESPACE",
        help="namespace of these Leases, which all daemons with the same policies must share "
        "(default: the pod's own; outside of a cluster bokeh-autoscaler)",
    )
    parser.add_argument(
        "--shards",
        metavar="N",
        type=_shards,
        default=1,
        help="number of parts in which the namespaces are shared among the daemons; 1: one daemon "
        "acts, the others are standbys (default: 1)",
    )
    parser.add_argument(
        "--writes-per-second",
        metavar="N",
        type=_rate,
        default=WRITES_PER_SECOND,
        help="writes of pods and scales per second, above which policies wait for the next pass, "
        f"scale-downs before scale-ups (default: {WRITES_PER_SECOND:g})",
    )
    parser.add_argument(
        "--log-format",
        choices=["text", "json"],
        default="text",
        help="format of the log lines (default: text)",
    )
    add_price(parser)
    _add_journal(parser.add_argument_group("journal"))


def _add_journal(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--journal",
        metavar="FILE",
        type=Path,
        help="file to append each decision and its observation to, for `autoscaler replay`, "
        "`explain` and `simulate --trace` (default: no journal)",
    )
    group.add_argument(
        "--journal-size",
        metavar="MB",
        type=_megabytes,
        default=100_000_000,
        help="size from which a new file is begun; the full one becomes FILE.1, and FILE.1 "
        "becomes FILE.2 (default: 100)",
    )
    group.add_argument(
        "--journal-files",
        metavar="N",
        type=_files,
        default=5,
        help="number of files to keep, with FILE (default: 5)",
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM, or one pass with --once, and return the exit code.

    It is 1 if the daemon cannot start, or if that one pass had a problem, and 2 without policies.
    """
    if not args.policies and not args.scaling_policies:
        complain("autoscaler run: no policies; set --policies or --scaling-policies")
        return 2
    set_up_logging(args.log_format)
    try:
        policies = PolicyFiles(args.policies)
        lease = None if args.dry_run else _lease_place(args)
        resources = args.scaling_policies
        ports = connect.ports(args, policies, lease, resources=resources, once=args.once)
        journal = _journal(args)
    except AutoscalerError as error:
        complain(f"autoscaler run: {error}")
        return 1
    recorders: list[Recorder] = [LogRecorder(dry_run=args.dry_run), EventRecorder(ports.cluster)]
    recorders += [journal] if journal else []
    if ports.resources is not None and not args.dry_run:
        recorders.append(ResourceStatuses(ports.resources, ports.clock.steady))
    if not args.dry_run:
        recorders.append(NoticeRecorder(connect.sidecars(args)))
    listen = None if args.once else args.listen
    daemon = Daemon(
        ports,
        recorders,
        listen=listen,
        dry_run=args.dry_run,
        every_pass=journal is not None,  # it has each decision
        is_brief=args.once,
        shards=args.shards,
        writes_per_second=args.writes_per_second,
        patience=None if args.once else PATIENCE,
    )
    if args.price is not None:
        daemon.telemetry.show_price(args.price)
    if journal is not None:
        daemon.telemetry.show_journal(lambda: journal.is_writing)
    return _once(daemon, journal) if args.once else _serve(daemon, journal)


def _journal(args: argparse.Namespace) -> Journal | None:
    """Return the journal, if one is wanted. Raises AutoscalerError if it cannot be opened."""
    if args.journal is None:
        return None
    file = RotatingFile(args.journal, args.journal_size, args.journal_files)
    try:
        file.begin()
    except OSError as error:
        if error.errno not in FULL:
            raise AutoscalerError(f"--journal {args.journal}: {error.strerror}") from None
    return Journal(file, token_hex(4))


def _once(daemon: Daemon, journal: Journal | None) -> int:
    result = daemon.run_once()
    daemon.release()
    _settle(journal)
    return _verdict(result)


def _serve(daemon: Daemon, journal: Journal | None) -> int:
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
    daemon.stop_on_signals()
    try:
        ended = daemon.run()
    except AutoscalerError as error:
        complain(f"autoscaler run: {error}")
        return 1
    _settle(journal)
    if not ended:
        _leave()
    return 0


def _settle(journal: Journal | None) -> None:
    if journal is not None:
        journal.settle(WRITTEN_WITHIN)


def _leave() -> NoReturn:
    """End the process without waiting for threads, as Python would."""
    LOG.warning("ending before the last pass: it still waits for an answer")
    logging.shutdown()
    os._exit(0)


def _verdict(result: PassResult | None) -> int:
    if result is None or result.policies.problems:
        return 1
    if any(status.is_standby for status in result.leadership.values()):
        return 1
    if not result.outcomes:
        LOG.error("no valid policy is loaded; nothing to do")
        return 1
    return int(any(outcome.problem for outcome in result.outcomes))


def _namespace(text: str) -> str:
    if text != "*" and not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a namespace, or '*' for all of them")
    return text


def _megabytes(text: str) -> int:
    return whole(text, 1, 1_000_000) * 1_000_000


def _files(text: str) -> int:
    return whole(text, 1, 1_000)


def _rate(text: str) -> float:
    return float(whole(text, 1, 10_000))


def _shards(text: str) -> int:
    return whole(text, 1, MOST_SHARDS)


def _lease_place(args: argparse.Namespace) -> Place | None:
    """Return where the Leases are, or None without leader election."""
    if args.lease is None:
        return None
    namespace = args.lease_namespace
    if namespace is None and not args.kubeconfig and not args.context:
        with suppress(OSError):  # not in a cluster
            namespace = OWN_NAMESPACE.read_text().strip()
    return Place(namespace or "bokeh-autoscaler", args.lease)


def _lease(text: str) -> str | None:
    if text == "none":
        return None
    if not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name of a-z, 0-9 and -, or none")
    return text
