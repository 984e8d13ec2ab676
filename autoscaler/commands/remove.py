"""`autoscaler remove`: remove everything that the daemon wrote into the cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from autoscaler.commands.connect import add_kubeconfig
from autoscaler.commands.lines import complain, say
from autoscaler.core.lease import Place
from autoscaler.errors import AutoscalerError
from autoscaler.units import counted

if TYPE_CHECKING:
    from autoscaler.adapters.kubernetes.removal import Removal, Trace

FAILED = 1
STILL_LED = (
    "a daemon still runs, and would write all of it again: delete its Deployment and wait until "
    "its pods have ended, or set --force"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--namespace",
        "-n",
        dest="namespaces",
        metavar="NAME",
        action="append",
        default=[],
        help="namespace of the apps (repeatable)",
    )
    where.add_argument("--all-namespaces", "-A", action="store_true", help="pods of all namespaces")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be removed, and change nothing"
    )
    parser.add_argument(
        "--force", action="store_true", help="remove it although a daemon still runs"
    )
    parser.add_argument(
        "--lease",
        metavar="NAME",
        default="bokeh-autoscaler",
        help="name with which the daemon's Leases begin (default: bokeh-autoscaler)",
    )
    parser.add_argument(
        "--lease-namespace",
        metavar="NAME",
        default="bokeh-autoscaler",
        help="namespace of the daemon's Leases (default: bokeh-autoscaler)",
    )
    add_kubeconfig(parser)


def run(args: argparse.Namespace) -> int:
    """Remove it, and print each object. Return 1 if a daemon still runs or a request failed."""
    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
    from autoscaler.adapters.kubernetes.removal import Removal

    try:
        cluster = KubernetesCluster.connect(args.kubeconfig, args.context)
        return _remove(args, Removal(cluster.api))
    except AutoscalerError as error:
        complain(f"autoscaler remove: {error}")
        return FAILED


def _remove(args: argparse.Namespace, removal: Removal) -> int:
    from autoscaler.adapters.kubernetes.removal import lease_trace

    for each in args.namespaces:
        removal.check_namespace(each)
    pods = removal.pods(args.namespaces)
    old = {*args.namespaces, *(pod.namespace for pod in pods)}
    places = [Place(args.lease_namespace, f"{args.lease}-")]
    leases = removal.leases([*places, *(Place(each, args.lease) for each in sorted(old))])
    if not args.dry_run and not args.force and removal.is_led(leases):
        complain(f"autoscaler remove: {STILL_LED}")
        return FAILED
    traces = [*pods, *map(lease_trace, leases)]
    for trace in traces:
        if not args.dry_run:
            removal.remove(trace)
        say(str(trace))
    say(_summary(traces, args.dry_run))
    return 0


def _summary(traces: list[Trace], dry_run: bool) -> str:
    if not traces:
        return "nothing of the daemon is here"
    leases = sum(each.kind == "Lease" for each in traces)
    parts = ((len(traces) - leases, "pod", "cleaned"), (leases, "Lease", "deleted"))
    return ", ".join(
        f"{counted(number, kind)} {_verb(number, dry_run)} {done}" for number, kind, done in parts
    )


def _verb(number: int, dry_run: bool) -> str:
    past = "was" if number == 1 else "were"
    return "would be" if dry_run else past
