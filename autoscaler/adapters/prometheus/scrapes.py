"""How Prometheus scrapes the exporters of one namespace: which pods, how often, and how many times.

Unlike `source`, which reads the values and prefers one of several copies, this looks at the copies.
"""

from __future__ import annotations

from collections import defaultdict
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
# The exporter's own labels of the metric; all others come from the scrape.
OWN = ("app", "worker", "quality")


class Scrapes(NamedTuple):
    """What was seen. problem: why Prometheus could not be asked, or "".

    pods: names of the pods with a session count within five minutes. interval: median of the
    seconds between two samples, or None. twice: pods whose series is there several times, with the
    jobs that scrape it. hint: why pods may be missing, or "".
    """

    problem: str = ""
    pods: frozenset[str] = frozenset()
    interval: float | None = None
    twice: tuple[tuple[str, tuple[str, ...]], ...] = ()
    hint: str = ""


def scrapes(settings: PrometheusSettings, namespace: str) -> Scrapes:
    """Ask Prometheus for the samples of the session counts of a namespace. Never raises."""
    session = PrometheusSession(settings)
    matchers = ",".join(part for part in ('state="connected"', settings.match) if part)

    def ask(more: str, window: str) -> Any:
        with session.reading():
            query = f"{SESSIONS}{{{matchers}{more}}}{window}"
            return QueryClient(session, settings).instant(query)

    try:
        found = ask(f',namespace="{namespace}"', f"[{WINDOW}s]")
        hint = "" if found else lost_labels(ask("", ""), SESSIONS) or ""
    except MetricsError as error:
        return Scrapes(problem=str(error))
    finally:
        session.close()
    return _of_rows(found, hint)


def _of_rows(rows: Any, hint: str) -> Scrapes:
    copies: dict[tuple[str, ...], list[str]] = defaultdict(list)
    pauses: list[float] = []
    for labels, row in labelled(rows):
        pod = str(labels.get("pod", ""))
        copies[(pod, *(str(labels.get(name, "")) for name in OWN))].append(str(labels.get("job")))
        times = [float(at) for at, _ in row.get("values") or ()]
        pauses += [after - before for before, after in pairwise(times)]
    twice = {key[0]: tuple(sorted(jobs)) for key, jobs in copies.items() if len(jobs) > 1}
    return Scrapes(
        pods=frozenset(key[0] for key in copies if key[0]),
        interval=median(pauses) if pauses else None,
        twice=tuple(sorted(twice.items())),
        hint=hint,
    )
