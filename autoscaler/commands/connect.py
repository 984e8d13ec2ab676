"""The options by which `run` and `decide` reach Prometheus and Kubernetes."""

from __future__ import annotations

import argparse
from pathlib import Path

from autoscaler.adapters.clock import SystemClock
from autoscaler.daemon import Ports
from autoscaler.errors import AutoscalerError
from autoscaler.ports import PolicySource
from autoscaler.quantities import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for the two APIs."""
    prometheus = parser.add_argument_group("Prometheus")
    prometheus.add_argument(
        "--prometheus-url", metavar="URL", required=True, help="its address, with any path prefix"
    )
    prometheus.add_argument(
        "--prometheus-bearer-token-file", metavar="FILE", type=Path, help="sent with each query"
    )
    prometheus.add_argument("--prometheus-username", metavar="NAME", help="for basic auth")
    prometheus.add_argument("--prometheus-password-file", metavar="FILE", type=Path)
    prometheus.add_argument(
        "--prometheus-ca-file", metavar="FILE", type=Path, help="CA of its certificate"
    )
    prometheus.add_argument(
        "--prometheus-header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_header,
        help="an extra header, such as X-Scope-OrgID=team (repeatable)",
    )
    prometheus.add_argument(
        "--prometheus-timeout",
        metavar="DURATION",
        type=_duration,
        default=5.0,
        help="longest wait for one query (default 5s)",
    )
    prometheus.add_argument(
        "--scrape-interval",
        metavar="DURATION",
        type=_duration,
        default=15.0,
        help="how often the exporters are scraped; older than two is missing (default 15s)",
    )
    kubernetes = parser.add_argument_group("Kubernetes")
    kubernetes.add_argument(
        "--kubeconfig", metavar="FILE", type=Path, help="default: the pod's own ServiceAccount"
    )
    kubernetes.add_argument("--context", metavar="NAME", help="of the kubeconfig")
    kubernetes.add_argument(
        "--exporter-port",
        metavar="PORT",
        type=int,
        default=9550,
        help="of the sidecars, which are asked before a pod is removed (default 9550)",
    )


def ports(args: argparse.Namespace, policies: PolicySource, lease: str | None = None) -> Ports:
    """The adapters that the options describe. Raises AutoscalerError.

    lease: name of the Lease that a daemon must hold to act; None: take none.
    """
    from autoscaler.adapters.kubernetes import KubernetesCluster
    from autoscaler.adapters.leases import KubernetesLeases
    from autoscaler.adapters.prometheus import PrometheusSettings, PrometheusSource
    from autoscaler.adapters.sidecars import HttpSidecars

    if (args.prometheus_username is None) != (args.prometheus_password_file is None):
        raise AutoscalerError(
            "basic auth needs both --prometheus-username and --prometheus-password-file"
        )
    settings = PrometheusSettings(
        url=args.prometheus_url,
        bearer_token_file=args.prometheus_bearer_token_file,
        username=args.prometheus_username,
        password_file=args.prometheus_password_file,
        ca_file=args.prometheus_ca_file,
        headers=dict(args.prometheus_header),
        timeout=args.prometheus_timeout,
        scrape_interval=args.scrape_interval,
    )
    cluster = KubernetesCluster.connect(kubeconfig=args.kubeconfig, context=args.context)
    sidecars = HttpSidecars(args.exporter_port)
    leases = None if lease is None else KubernetesLeases(cluster.api, lease)
    return Ports(policies, PrometheusSource(settings), cluster, sidecars, SystemClock(), leases)


def _header(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return name.strip(), value.strip()


def _duration(text: str) -> float:
    try:
        value = seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected more than 0s")
    return value
