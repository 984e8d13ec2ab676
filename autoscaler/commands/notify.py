"""`autoscaler notify`: show a notice to all users of a Deployment, in their pages.

It asks the API server for the pods of the Deployment and gives the notice to their sidecars, with
the token that the daemon has. Where pods cannot be reached, it can be run in the daemon's pod.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from autoscaler.commands.arguments import duration, target
from autoscaler.commands.connect import add_kubernetes, sidecars
from autoscaler.commands.lines import complain, say
from autoscaler.errors import AutoscalerError
from autoscaler.model import PodState, Unavailable
from autoscaler.units import counted
from exporter.agent.notice import Notice, parsed

if TYPE_CHECKING:
    from autoscaler.adapters.sidecars import HttpSidecars

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "target", metavar="TARGET", type=target, help="NAMESPACE/DEPLOYMENT of the app"
    )
    parser.add_argument("text", metavar="TEXT", type=_text, help="what the users read, on one line")
    parser.add_argument(
        "--in",
        dest="left",
        metavar="DURATION",
        type=_left,
        default=600.0,
        help="time until that which is announced; the page counts it down, and who opens a page "
        "within it reads the notice too (default: 10m)",
    )
    add_kubernetes(parser)


def run(args: argparse.Namespace) -> int:
    """Show it, and print to how many sessions. Return 1 if the users of a pod do not read it."""
    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster

    try:
        given_to = sidecars(args)
        cluster = KubernetesCluster.connect(args.kubeconfig, args.context)
        state = cluster.read_target(args.target)
        if isinstance(state, AutoscalerError):
            raise state
        return _notify(args, given_to, state.pods)
    except AutoscalerError as error:
        complain(f"autoscaler notify: {error}")
        return FAILED


def _notify(args: argparse.Namespace, given_to: HttpSidecars, pods: tuple[PodState, ...]) -> int:
    running = [pod for pod in pods if pod.phase == "Running"]
    given = given_to.notify(running, {"text": args.text, "seconds": args.left})
    problems = [
        f"autoscaler notify: pod {pod.name}: {said.message}"
        for pod in running
        if isinstance(said := given[pod.uid], Unavailable)
    ]
    sessions = sum(said for said in given.values() if isinstance(said, int))
    reached = counted(len(running) - len(problems), "pod")
    say(f"{args.target}: shown to {counted(sessions, 'session')} in {reached}")
    complain(*problems)
    return FAILED if problems else 0


def _text(text: str) -> str:
    return _checked(text, 0.0).text


def _left(text: str) -> float:
    return _checked("a text", duration(text)).seconds


def _checked(text: str, seconds: float) -> Notice:
    """Return a notice as the sidecars would take it; an error is one of the command line."""
    try:
        return parsed({"id": "none yet", "text": text, "seconds": seconds})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
