"""`autoscaler status`: what the daemon sees and decides now, one line for each Deployment."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from autoscaler.commands.arguments import positive_duration, web_address, whole
from autoscaler.commands.connect import add_kubeconfig
from autoscaler.commands.lines import complain
from autoscaler.core.lease import Place
from autoscaler.errors import AutoscalerError

if TYPE_CHECKING:
    from autoscaler.reporting.status_report import PolicyStatus, StatusReport

FAILED = 1
PAGE = "/status"
# Deployments that one message names.
MOST_KNOWN = 10
MACHINE_FORMS = ("json", "yaml")


class Answer(NamedTuple):
    """What the daemons said that could be asked, and why the others could not."""

    report: StatusReport
    problems: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="*",
        help="NAMESPACE/DEPLOYMENT, or the name of a Deployment or policy (default: all)",
    )
    parser.add_argument(
        "--namespace",
        "-n",
        dest="namespaces",
        metavar="NAME",
        action="append",
        default=[],
        help="show only Deployments of this namespace (repeatable)",
    )
    parser.add_argument(
        "--output",
        "-o",
        choices=["wide", *MACHINE_FORMS],
        help="more columns and the decision in words, or all that the daemon says",
    )
    parser.add_argument("--watch", "-w", action="store_true", help="show it again until Ctrl-C")
    parser.add_argument(
        "--every",
        metavar="DURATION",
        type=positive_duration,
        default=2.0,
        help="time between two looks with --watch (default: 2s)",
    )
    add_daemon(parser.add_argument_group("daemon"))


def add_daemon(group: argparse._ArgumentGroup) -> None:
    """Add the options that say which daemons are asked."""
    group.add_argument(
        "--url",
        metavar="URL",
        type=web_address,
        help="address of the daemon, such as http://localhost:9551 after kubectl port-forward "
        "(default: the daemons that lead, through the Kubernetes API)",
    )
    group.add_argument(
        "--lease",
        metavar="NAME",
        default="bokeh-autoscaler",
        help="name with which the daemon's Leases begin (default: bokeh-autoscaler)",
    )
    group.add_argument(
        "--lease-namespace",
        metavar="NAME",
        default="bokeh-autoscaler",
        help="namespace of the daemon and its Leases (default: bokeh-autoscaler)",
    )
    group.add_argument(
        "--port",
        metavar="PORT",
        type=_port,
        default=9551,
        help="port of the daemon's --listen (default: 9551)",
    )
    add_kubeconfig(group)


def run(args: argparse.Namespace) -> int:
    """Print the status.

    Return 1 if a daemon cannot be asked, nothing has the names, or nobody leads for one of them.
    """
    try:
        ask = asking(args)
        if not args.watch:
            return _show(ask(), args)
        return _watch(ask, args)
    except AutoscalerError as error:
        complain(f"autoscaler status: {error}")
        return FAILED


def asking(args: argparse.Namespace) -> Callable[[], Answer]:
    """Return what asks the daemons. Raises AutoscalerError."""
    from autoscaler.reporting.status_report import from_plain

    if args.url is not None:
        from autoscaler.adapters.http.daemon_page import daemon_page

        def at_address() -> Answer:
            page = daemon_page(args.url, PAGE)
            return _chosen([from_plain(page, f"the daemon at {args.url}")], (), args)

        return at_address

    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
    from autoscaler.adapters.kubernetes.leading_daemons import LeadingDaemons

    api = KubernetesCluster.connect(args.kubeconfig, args.context).api
    daemons = LeadingDaemons(api, Place(args.lease_namespace, args.lease), args.port)

    def through_the_api() -> Answer:
        reports, problems = [], []
        for pod in daemons.pods():
            try:
                reports.append(from_plain(daemons.page(pod, PAGE), f"the daemon in pod {pod}"))
            except AutoscalerError as error:
                problems.append(str(error))
        if not reports:
            raise AutoscalerError(problems[0])
        return _chosen(reports, tuple(problems), args)

    return through_the_api


def _chosen(
    reports: list[StatusReport], problems: tuple[str, ...], args: argparse.Namespace
) -> Answer:
    """Return what is asked for of all that was said. Raises AutoscalerError if that is nothing."""
    from autoscaler.reporting.status_report import merged

    whole_report = merged(reports)
    every = whole_report.policies
    there = [each for each in every if not args.namespaces or each.namespace in args.namespaces]
    unknown = [name for name in args.targets if not any(name in _names(each) for each in there)]
    if unknown or (args.namespaces and not there):
        asked = " ".join([*unknown, *(f"-n {name}" for name in args.namespaces)])
        problem = problems[0] if problems else f"there are policies for {_known(every)}"
        raise AutoscalerError(f"the daemon has no policy for {asked}; {problem}")
    wanted = set(args.targets)
    found = tuple(each for each in there if not wanted or wanted & _names(each))
    return Answer(replace(whole_report, policies=found), problems)


def _known(every: Sequence[PolicyStatus]) -> str:
    """Return the Deployments that have a policy, the first ones by name."""
    found = list(dict.fromkeys(each.target for each in every))
    more = len(found) - MOST_KNOWN
    told = [*found[:MOST_KNOWN], *([f"{more} others"] if more > 0 else [])]
    return ", ".join(told) or "no Deployment"


def _names(status: PolicyStatus) -> set[str]:
    return {status.target, status.deployment, status.policy}


def _show(answer: Answer, args: argparse.Namespace) -> int:
    print("\n".join(_lines(answer.report, args.output)))
    without = [each for each in answer.report.policies if not each.leader]
    complain(*_told(answer.problems))
    if args.output in MACHINE_FORMS:  # a table says it itself
        complain(*_told(f"{each.target}: {each.problem or 'nobody leads'}" for each in without))
    return FAILED if without or answer.problems else 0


def _lines(report: StatusReport, form: str | None) -> Iterator[str]:
    from autoscaler.commands.status_table import table
    from autoscaler.reporting.status_report import to_plain

    if form == "json":
        yield json.dumps(to_plain(report), indent=2)
    elif form == "yaml":
        import yaml

        yield "---"
        yield yaml.safe_dump(to_plain(report), sort_keys=False).rstrip()
    else:
        yield from table(report, wide=form == "wide")


def _told(problems: Iterable[str]) -> list[str]:
    return [f"autoscaler status: {each}" for each in problems]


def _watch(ask: Callable[[], Answer], args: argparse.Namespace) -> int:
    """Show it again and again, and go on while no daemon answers. Raises if the first look fails.

    On a terminal each look replaces the last one.
    """
    from autoscaler.commands.status_table import Screen

    try:
        screen = Screen(sys.stdout)
        answer: Answer | None = ask()
        while True:
            if answer is not None:
                screen.show([*_lines(answer.report, args.output)], _told(answer.problems))
            time.sleep(args.every)
            try:
                answer = ask()
            except AutoscalerError as error:
                answer = None
                screen.show([], _told([str(error)]))
    except KeyboardInterrupt:
        return 0


def _port(text: str) -> int:
    return whole(text, 1, 65_535)
