"""How Prometheus scrapes the exporters of one namespace: which pods, how often, and how many times.

Unlike `source`, which reads the values and prefers one of several copies, this looks at the copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from autoscaler.adapters.prometheus.client import QueryClient
from autoscaler.adapters.prometheus.http import PrometheusSession, PrometheusSettings
from autoscaler.adapters.prometheus.rows import labelled, lost_labels
from autoscaler.adapters.prometheus.source import SESSIONS
from autoscaler.errors import MetricsError

# Seconds: enough for two scrapes at any usual interval.
WINDOW = 300
# What each exporter has, also one that counts nothing.
EXPORTER = "bokeh_exporter_build_info"
CONNECTED = 'state="connected"'
# The exporter's own labels of the metric; all others come from the scrape.
OWN = ("app", "worker", "quality")


class Scrapes(NamedTuple):
    """What was seen. problem: why Prometheus could not be asked, or "".

    pods: names of the pods with a session count within five minutes. interval: median of the
    seconds between two samples, or None. twice: pods whose series is there several times, with the
    matchers that tell the copies apart: by job if several jobs scrape it. hint: why pods may be
    missing, or "". estimated: pods whose last count is an estimate from their connections.
    up: pods whose exporter is scraped now, whether or not it has a session count.
    """

    problem: str = ""
    pods: frozenset[str] = frozenset()
    interval: float | None = None
    twice: tuple[tuple[str, tuple[str, ...]], ...] = ()
    hint: str = ""
    estimated: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset()


def scrapes(settings: PrometheusSettings, namespace: str) -> Scrapes:
    """Ask Prometheus for the samples of the session counts of a namespace. Never raises."""
    session = PrometheusSession(settings)
    of_namespace = f'namespace="{namespace}"'

    def selector(*parts: str) -> str:
        return "{" + ",".join(part for part in (*parts, settings.match) if part) + "}"

    def ask(query: str) -> Any:
        with session.reading():
            return QueryClient(session, settings).instant(query)

    try:
        found = ask(f"{SESSIONS}{selector(CONNECTED, of_namespace)}[{WINDOW}s]")
        hint = "" if found else lost_labels(ask(f"{SESSIONS}{selector(CONNECTED)}"), SESSIONS) or ""
        # A pod may have targets of others, so it must be one that exports what ours does.
        of_ours = f"on (job, instance) {EXPORTER}{selector(of_namespace)}"
        up = ask(f"up{selector(of_namespace)} == 1 and {of_ours}")
    except MetricsError as error:
        return Scrapes(problem=str(error))
    finally:
        session.close()
    return _of_rows(found, hint)._replace(up=_pods(up))


def _of_rows(rows: Any, hint: str) -> Scrapes:
    copies: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    pauses: list[float] = []
    last: dict[str, tuple[float, bool]] = {}
    for labels, row in labelled(rows):
        pod = str(labels.get("pod", ""))
        copies[(pod, *(str(labels.get(name, "")) for name in OWN))].append(labels)
        times = [float(at) for at, _ in row.get("values") or ()]
        pauses += [after - before for before, after in pairwise(times)]
        newest = (max(times, default=0.0), labels.get("quality") != "estimated")
        last[pod] = max(last.get(pod, newest), newest)
    twice = {key[0]: _told_apart(each) for key, each in copies.items() if len(each) > 1}
    return Scrapes(
        pods=frozenset(key[0] for key in copies if key[0]),
        interval=median(pauses) if pauses else None,
        twice=tuple(sorted(twice.items())),
        hint=hint,
        estimated=frozenset(pod for pod, (_, is_exact) in last.items() if pod and not is_exact),
    )


def _pods(rows: Any) -> frozenset[str]:
    return frozenset(str(labels["pod"]) for labels, _ in labelled(rows) if labels.get("pod"))


def _told_apart(copies: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a matcher for each copy of a series, by one label in which they differ."""
    names = {name for labels in copies for name in labels}
    differing = {n for n in names if len({str(labels.get(n, "")) for labels in copies}) > 1}
    name = "job" if "job" in differing else min(differing)
    return tuple(sorted({f'{name}="{labels.get(name, "")}"' for labels in copies}))
