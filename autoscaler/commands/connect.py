"""The options with which commands connect to Prometheus and Kubernetes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.adapters.clock import SystemClock
from autoscaler.commands.arguments import positive_duration, web_address
from autoscaler.errors import AutoscalerError
from exporter.tokens import TokenError, TokenFile

if TYPE_CHECKING:
    from autoscaler.adapters.prometheus.http import PrometheusSettings
    from autoscaler.adapters.prometheus.source import PrometheusSource
    from autoscaler.adapters.sidecars import HttpSidecars
    from autoscaler.core.lease import Place
    from autoscaler.daemon import Ports
    from autoscaler.ports import Cluster, PolicySource

# Seconds for which a reconcile pass waits for the PromQL queries of policies.
PATIENCE = 1.0
# Seconds for a query of a day that has passed, for which no pass waits.
HISTORY_TIMEOUT = 30.0

# One or more label matchers of PromQL, as between the braces of a selector.
_MATCHER = r"""[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
MATCHERS = re.compile(rf"\s*{_MATCHER}\s*(?:,\s*{_MATCHER}\s*)*", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for both APIs."""
    add_prometheus(parser, required=True)
    add_kubernetes(parser)


def add_prometheus(
    parser: argparse.ArgumentParser, *, required: bool, timeout: float = 5.0, short: bool = False
) -> None:
    """Add the options for Prometheus. short: also as `--prometheus` and `--match`."""
    prometheus = parser.add_argument_group("Prometheus")
    prometheus.add_argument(
        *(("--prometheus",) if short else ()),
        "--prometheus-url",
        dest="prometheus_url",
        metavar="URL",
        type=web_address,
        required=required,
        help="address of Prometheus, with its path prefix, if any; parameters (as in "
        "https://host/prom?tenant=a) are sent with each query",
    )
    prometheus.add_argument(
        *(("--match",) if short else ()),
        "--prometheus-match",
        dest="prometheus_match",
        metavar="MATCHERS",
        action="append",
        default=[],
        type=_matchers,
        help="label matchers added to the queries for sessions, CPU and memory, such as "
        "'cluster=\"a\"', for stores with several clusters (repeatable); the PromQL queries of "
        "policies are not changed",
    )
    prometheus.add_argument(
        "--prometheus-bearer-token-file",
        metavar="FILE",
        type=Path,
        help="file with the bearer token for Prometheus; reread for each query",
    )
    prometheus.add_argument(
        "--prometheus-username", metavar="NAME", help="user name for basic authentication"
    )
    prometheus.add_argument(
        "--prometheus-password-file",
        metavar="FILE",
        type=Path,
        help="file with the password for basic authentication; reread for each query",
    )
    prometheus.add_argument(
        "--prometheus-ca-file",
        metavar="FILE",
        type=Path,
        help="file with the CA certificate of Prometheus (default: the well-known CAs)",
    )
    prometheus.add_argument(
        "--prometheus-header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=header,
        help="additional header for each query, such as X-Scope-OrgID=team (repeatable)",
    )
    prometheus.add_argument(
        "--prometheus-timeout",
        metavar="DURATION",
        type=positive_duration,
        default=timeout,
        help=f"timeout of a query (default: {timeout:g}s); a reconcile pass waits only one second "
        "for the PromQL queries of policies, and the next pass reads answers that took longer",
    )
    prometheus.add_argument(
        "--scrape-interval",
        metavar="DURATION",
        type=positive_duration,
        default=15.0,
        help="Prometheus scrape interval of the exporters, by which samples are old; those older "
        "than twice this are ignored (default: 15s)",
    )


def add_kubernetes(parser: argparse.ArgumentParser) -> None:
    """Add the options for Kubernetes and the sidecars."""
    kubernetes = parser.add_argument_group("Kubernetes")
    add_kubeconfig(kubernetes)
    kubernetes.add_argument(
        "--exporter-port",
        metavar="PORT",
        type=int,
        default=9550,
        help="port of the exporter sidecars (default: 9550)",
    )
    kubernetes.add_argument(
        "--sidecar-token-file",
        metavar="FILE",
        type=Path,
        help="file with the bearer token for sidecars that run with --token-file; reread for each "
        "request (default: no token)",
    )


def add_kubeconfig(parser: argparse._ActionsContainer) -> None:
    """Add the options that say which cluster is meant."""
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        type=Path,
        help="kubeconfig file (default: the pod's ServiceAccount, or ~/.kube/config outside of a "
        "cluster)",
    )
    parser.add_argument(
        "--context", metavar="NAME", help="context of the kubeconfig (default: its current one)"
    )


def ports(
    args: argparse.Namespace,
    policies: PolicySource,
    lease: Place | None = None,
    *,
    resources: Sequence[str] = (),
    once: bool = False,
) -> Ports:
    """Return the adapters that the options describe. Raises AutoscalerError.

    lease: namespace of the Leases for leader election and the name with which theirs begin, or None
    for no election. resources: namespaces of ScalingPolicies that count beside `policies`; "*"
    stands for all. once: whether there is only one pass, which must then wait for all answers, and
    lists instead of watching.
    """
    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
    from autoscaler.adapters.kubernetes.kinds import EVERYWHERE
    from autoscaler.adapters.kubernetes.leases import KubernetesLeases
    from autoscaler.adapters.kubernetes.scaling_policies import ScalingPolicies
    from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
    from autoscaler.adapters.policies.joined import FilesAndResources
    from autoscaler.adapters.prometheus.history import PrometheusHistory
    from autoscaler.adapters.prometheus.loads import PrometheusLoads
    from autoscaler.daemon import Ports

    metrics = prometheus(args, patience=args.prometheus_timeout if once else PATIENCE)
    clock = SystemClock()
    api = KubernetesCluster.connect(args.kubeconfig, args.context, clock)
    watched = None if once else WatchedCluster(api, clock)
    cluster: Cluster = watched or api
    leases = None if lease is None else KubernetesLeases(api.api, *lease)
    ages = None if watched is None else watched.ages
    settings = replace(prometheus_settings(args, patience=PATIENCE), timeout=HISTORY_TIMEOUT)
    history = None if once else PrometheusHistory(settings)
    loads = None if once else PrometheusLoads(settings)
    ports = Ports(
        policies, metrics, cluster, sidecars(args), clock, leases, ages, history, loads=loads
    )
    if not resources:
        return ports
    places = [EVERYWHERE] if "*" in resources else sorted(set(resources))
    objects = ScalingPolicies(api.api, places, clock)
    return replace(ports, policies=FilesAndResources(policies, objects), resources=objects)


def sidecars(args: argparse.Namespace) -> HttpSidecars:
    """Return the adapter of the sidecars that the options describe. Raises AutoscalerError."""
    from autoscaler.adapters.sidecars import HttpSidecars

    return HttpSidecars(args.exporter_port, _token(args.sidecar_token_file))


def _token(file: Path | None) -> TokenFile | None:
    """Return the token for the sidecars, or None without one. Raises AutoscalerError."""
    try:
        return None if file is None else TokenFile(file)
    except TokenError as error:
        raise AutoscalerError(f"--sidecar-token-file: {error}") from None


def prometheus(args: argparse.Namespace, *, patience: float) -> PrometheusSource:
    """Return the Prometheus adapter that the options describe. Raises AutoscalerError.

    patience: seconds for which to wait for the PromQL queries of policies.
    """
    from autoscaler.adapters.prometheus.source import PrometheusSource

    return PrometheusSource(prometheus_settings(args, patience=patience))


def prometheus_settings(args: argparse.Namespace, *, patience: float) -> PrometheusSettings:
    """Return the settings that the options describe. Raises AutoscalerError."""
    from autoscaler.adapters.prometheus.http import PrometheusSettings

    if (args.prometheus_username is None) != (args.prometheus_password_file is None):
        raise AutoscalerError(
            "basic authentication needs both --prometheus-username and --prometheus-password-file"
        )
    return PrometheusSettings(
        url=args.prometheus_url,
        bearer_token_file=args.prometheus_bearer_token_file,
        username=args.prometheus_username,
        password_file=args.prometheus_password_file,
        ca_file=args.prometheus_ca_file,
        headers=dict(args.prometheus_header),
        match=",".join(args.prometheus_match),
        timeout=args.prometheus_timeout,
        patience=patience,
        scrape_interval=args.scrape_interval,
    )


def _matchers(text: str) -> str:
    inside = text.strip().removeprefix("{").removesuffix("}").rstrip().removesuffix(",")
    if not MATCHERS.fullmatch(inside):
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected label matchers of PromQL, such as cluster="a"'
        )
    return inside.strip()


def header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header, such as X-Scope-OrgID=team."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not HEADER.fullmatch(name) or not value.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return name, value
