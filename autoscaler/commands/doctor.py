"""`autoscaler doctor`: look at a set-up and report all that will hurt. Changes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.commands.arguments import duration, is_web_address
from autoscaler.commands.connect import (
    add_kubeconfig,
    add_prometheus,
    header,
    prometheus_settings,
)
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.doctor.facts import EXPORTER_PORT, Facts
from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.model import TargetRef
from autoscaler.units import seconds

if TYPE_CHECKING:
    from autoscaler.adapters.kubernetes.inspection import Daemon, Inspection
    from autoscaler.adapters.prometheus.scrapes import Scrapes

FAILED, USAGE = 1, 2
DAEMON = "bokeh-autoscaler/bokeh-autoscaler"
Show = Callable[[float], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Look at a set-up from outside (URL), in the cluster (--deployment or --policies) or both, "
        "and report all that will hurt at once, with what users feel and how to fix it. Nothing is "
        "changed, but a visit of the URL creates about ten sessions, as ten users do."
    )
    parser.epilog = (
        "Exit code: 0 if nothing is an error; 1 if something is, or if a target could not be "
        "examined at all; 2 for wrong usage."
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="address of the app, as users open it"
    )
    target = parser.add_argument_group("target")
    target.add_argument("--namespace", "-n", metavar="NAME", help="namespace of the Deployment")
    target.add_argument("--deployment", metavar="NAME", help="name of the Deployment")
    target.add_argument(
        "--policies",
        metavar="PATH",
        action="append",
        type=Path,
        help="policy file, or directory of policy files, whose targets to examine (repeatable)",
    )
    parser.add_argument(
        "--daemon",
        metavar="NAMESPACE/NAME",
        type=_place,
        default=DAEMON,
        help=f"Deployment of the daemon (default: {DAEMON})",
    )
    parser.add_argument(
        "--exporter-port",
        metavar="PORT",
        type=int,
        default=EXPORTER_PORT,
        help=f"port of the exporter sidecars (default: {EXPORTER_PORT})",
    )
    parser.add_argument(
        "--wait",
        metavar="DURATION",
        type=duration,
        default=0.0,
        help="also keep one idle connection for so long, such as 60s, to find idle timeouts "
        "(default: do not)",
    )
    parser.add_argument(
        "--header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=header,
        help="header sent with each request to the URL, such as Cookie=... of a login (repeatable)",
    )
    parser.add_argument(
        "--output", "-o", choices=("text", "json"), default="text", help="format (default: text)"
    )
    add_kubeconfig(parser.add_argument_group("Kubernetes"))
    add_prometheus(parser, required=False)


def _place(text: str) -> Daemon:
    from autoscaler.adapters.kubernetes.inspection import Daemon

    namespace, sign, name = text.partition("/")
    if not sign or not namespace or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAMESPACE/NAME")
    return Daemon(namespace, name)


def run(args: argparse.Namespace) -> int:
    """Examine it, print the report, and return the exit code (see the command's help)."""
    if problem := _misuse(args):
        complain(f"autoscaler doctor: {problem}")
        return USAGE
    policies = PolicyFiles(args.policies).load() if args.policies else None
    if policies is not None and policies.problems:
        complain(*(line for lines in policies.problems.values() for line in lines))
        return USAGE
    targets = (
        [Facts(policy.target.ref, policy=policy) for policy in policies.policies]
        if policies
        else []
    )
    if args.deployment:
        targets.append(Facts(TargetRef(args.namespace, args.deployment)))
    try:
        with progress("examining") as show:
            seen = list(_seen(args, targets, show))
    except AutoscalerError as error:  # of options, such as a file that cannot be read
        complain(f"autoscaler doctor: {error}")
        return FAILED
    return _report(args, seen)


def _misuse(args: argparse.Namespace) -> str:
    if bool(args.namespace) != bool(args.deployment):
        return "--namespace and --deployment belong together"
    if not (args.url or args.deployment or args.policies):
        return "name a URL, --namespace with --deployment, or --policies"
    if (args.wait or args.header) and not args.url:
        return "--wait and --header need a URL"
    if args.prometheus_url and not (args.deployment or args.policies):
        return "--prometheus-url needs a target: --namespace with --deployment, or --policies"
    return _wrong_address(args.url) if args.url else ""


def _wrong_address(url: str) -> str:
    if not is_web_address(url):
        return f"{url}: expected an address such as https://dashboards.example.com/app"
    if urlsplit(url).username is not None:
        return "URL: give the login as --header 'Authorization=Basic BASE64', not in the address"
    return ""


def _seen(args: argparse.Namespace, targets: list[Facts], show: Show) -> Iterator[Facts]:
    """Yield what was seen of each target, and of the URL. Raises AutoscalerError."""
    try:
        yield from _of_cluster(args, targets, show) if targets else ()
    except ClusterError as error:
        yield Facts(failure=str(error))
    if args.url:
        from autoscaler.adapters.visitor import visit

        yield Facts(visit=visit(args.url, dict(args.header), args.wait, show))


def _of_cluster(args: argparse.Namespace, targets: list[Facts], show: Show) -> Iterator[Facts]:
    from autoscaler.adapters.clock import SystemClock
    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
    from autoscaler.adapters.kubernetes.daemon_policies import DaemonPoliciesReader
    from autoscaler.adapters.kubernetes.inspection import Inspector

    api = KubernetesCluster.connect(args.kubeconfig, args.context).api
    clock = SystemClock()
    inspector, policies = Inspector(api, show), DaemonPoliciesReader(api)
    for target in targets:
        if target.ref is None:
            continue
        seen = inspector.inspect(target.ref, args.daemon)
        yield replace(
            target,
            daemon=args.daemon,
            cluster=seen,
            daemon_policies=policies.read(seen.daemon, target.ref.namespace)
            if seen.daemon
            else None,
            exporter_port=args.exporter_port,
            scrapes=_scrapes(args, target.ref.namespace),
            scrape_interval=_scrape_interval(seen) or args.scrape_interval,
            now=clock.now(),
        )


def _scrape_interval(seen: Inspection) -> float | None:
    """Return what the daemon was told, or None if it is not there or not told."""
    from autoscaler.adapters.kubernetes.inspection import argument

    try:
        return seconds(argument(seen.daemon, "--scrape-interval") if seen.daemon else None)
    except ValueError:
        return None


def _scrapes(args: argparse.Namespace, namespace: str) -> Scrapes | None:
    """Return how Prometheus scrapes a namespace, if it may be asked. Raises AutoscalerError."""
    if args.prometheus_url is None:
        return None
    from autoscaler.adapters.prometheus.scrapes import scrapes

    return scrapes(prometheus_settings(args, patience=args.prometheus_timeout), namespace)


def _report(args: argparse.Namespace, seen: list[Facts]) -> int:
    from autoscaler.doctor.examine import examine
    from autoscaler.doctor.report import as_json, as_lines, has_errors

    findings = examine(seen)
    is_ok = not has_errors(findings) and not any(facts.is_hidden for facts in seen)
    unexamined = list(dict.fromkeys(line for facts in seen for line in facts.unexamined))
    if args.output == "json":
        sys.stdout.write(as_json(findings, unexamined, is_ok=is_ok) + "\n")
    else:
        say(*as_lines(findings, unexamined))
    return 0 if is_ok else FAILED
