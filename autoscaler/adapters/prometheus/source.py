"""Prometheus through prometheus-api-client: all samples of one pass.

There is one query per signal and source, however many policies there are. The queries of policies
run separately, so that none of them can block, delay or forge another. Equal queries run once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from autoscaler.adapters.prometheus import rows
from autoscaler.adapters.prometheus.asking import Asker, Waiting
from autoscaler.adapters.prometheus.client import QueryClient
from autoscaler.adapters.prometheus.http import PrometheusSession, PrometheusSettings
from autoscaler.core.clocks import WORTH_CORRECTING
from autoscaler.errors import MetricsError
from autoscaler.model import Sample, Unavailable
from autoscaler.ports import Readings, Signal

__all__ = ["PrometheusSettings", "PrometheusSource"]

# Numbers of concurrent fast and slow queries. Prometheus itself runs at most 20 at a time.
SIGNALS_AT_ONCE, QUERIES_AT_ONCE = (4, 2), (8, 4)

# Bytes of the answer to a policy's query, which is one number; a thousand series have 200 KiB.
LARGEST_NUMBER = 1 << 20

# Seconds after its deadline within which a request ends with an error.
ERROR_WITHIN = 0.25

Pair = tuple[Signal, str]
PodSamples = Mapping[rows.PodKey, Sample]


class SignalAnswer(NamedTuple):
    """The result of one signal's query. hint: the likely reason for missing pods.

    seats: of the sessions, which the same query asks for, so that both are of one moment.
    span: seconds that the query looks back. asked: time of the query, of the monotonic clock.
    """

    samples: PodSamples
    seats: PodSamples
    containers: Mapping[rows.PodKey, Mapping[str, Sample]] = {}
    hint: str | None = None
    span: float = 0.0
    asked: float = 0.0

    def newest(self) -> float | None:
        """Return the time of the newest sample, or None if there is none."""
        found = [*self.samples.values(), *(s for c in self.containers.values() for s in c.values())]
        return max((sample.at for sample in found), default=None)


class PrometheusSource:
    """Implements `ports.MetricsSource`."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        signals, queries = PrometheusSession(settings), PrometheusSession(settings, LARGEST_NUMBER)
        self._signals = self._asker(signals, settings.timeout, SIGNALS_AT_ONCE)
        self._queries = self._asker(queries, settings.patience, QUERIES_AT_ONCE)

    def _asker(self, session: PrometheusSession, first: float, at_once: tuple[int, int]) -> Asker:
        """Return an asker. first: seconds to wait for a query without an earlier answer.

        A waiting time up to the timeout is extended, so that the timeout's own error is reported.
        """
        settings = self._settings
        first, patience, deadline = (
            time + ERROR_WITHIN if time >= settings.timeout else time
            for time in (first, settings.patience, settings.timeout)
        )
        waiting = Waiting(first, patience, deadline, settings.fresh_for)
        return Asker(_asks(session, settings), waiting, at_once=at_once, late=session.failure)

    def read(self, signals: Iterable[Pair], queries: Iterable[str], now: float) -> Readings:
        """Return all samples of a pass; failures are in `failed` or in `external`.

        Samples older than two scrapes are left out. A slow query has its previous value, or is
        Unavailable, until its answer arrives.
        """
        began = time.monotonic()
        wanted = {pair: _query(*pair, self._settings) for pair in signals}
        of_signals = self._signals.begin(dict(wanted.values()))
        found = self._queries.begin(dict.fromkeys(queries, rows.single))
        said = of_signals()
        answers = {pair: said[text] for pair, (text, _) in wanted.items()}
        fresh = now - self._settings.fresh_for
        good = {pair: each for pair, each in answers.items() if isinstance(each, SignalAnswer)}
        samples: dict[Pair, PodSamples] = {pair: each.samples for pair, each in good.items()}
        if (of_sessions := good.get(("sessions", "exporter"))) is not None:
            samples["seats", "exporter"] = of_sessions.seats
        return Readings(
            samples={
                pair: {pod: s for pod, s in each.items() if s.at >= fresh}
                for pair, each in samples.items()
            },
            external={
                query: _number(each, fresh - WORTH_CORRECTING) for query, each in found().items()
            },
            failed={p: str(each) for p, each in answers.items() if isinstance(each, MetricsError)},
            containers={
                pod: {name: sample for name, sample in each.items() if sample.at >= fresh}
                for answer in good.values()
                for pod, each in answer.containers.items()
            },
            hints={
                pair: hint
                for pair, each in good.items()
                if (hint := _clocks(each, now - max(0.0, began - each.asked)) or each.hint)
            },
            fresh_for=self._settings.fresh_for,
        )

    def examine(self, queries: Iterable[str]) -> dict[str, rows.QueryResult]:
        """Return the result of each query of the policies, with its type."""
        answers = self._queries.begin(dict.fromkeys(queries, rows.single))()
        return {
            query: rows.QueryResult(Unavailable(str(each)))
            if isinstance(each, MetricsError)
            else each
            for query, each in answers.items()
        }


def _asks(
    session: PrometheusSession, settings: PrometheusSettings
) -> Callable[[str, Callable[[Any], Any], float | None], Any]:
    """Return a function that runs an instant query; it raises MetricsError with the address."""
    client = QueryClient(session, settings)

    def ask(query: str, read: Callable[[Any], Any], within: float | None) -> Any:
        asked = time.monotonic()
        with session.reading(within):
            found = read(client.instant(query))
        return found._replace(asked=asked) if isinstance(found, SignalAnswer) else found

    return ask


def _clocks(answer: SignalAnswer, asked: float) -> str | None:
    """Return a hint if the clock of Prometheus is behind ours, else None.

    That is so if samples are older than the span of the query, which Prometheus applies by its own
    clock. asked: the time of the query by our clock.
    """
    newest = answer.newest()
    if newest is None or asked - newest <= answer.span + WORTH_CORRECTING:
        return None
    return (
        f"the clock of Prometheus is behind the daemon's clock, by which its newest sample is "
        f"{asked - newest:.0f} s old; synchronize the clocks of both machines by NTP"
    )


def _number(answer: rows.QueryResult | MetricsError, oldest: float) -> Sample | Unavailable:
    """Return the number of a query, unless its answer was made long before it was asked for.

    oldest: in Unix seconds. A cache that is in front of Prometheus may answer for ever.
    """
    if isinstance(answer, MetricsError):
        return Unavailable(str(answer))
    number = answer.number
    if isinstance(number, Unavailable) or number.at >= oldest:
        return number
    made = datetime.fromtimestamp(number.at, UTC).isoformat(timespec="seconds")
    return Unavailable(
        f"the query was answered with a number of {made}, which is too old: a cache may be in "
        "front of Prometheus, or its clock is behind the daemon's clock"
    )


CREATED, DESTROYED, ORPHANED = (
    f"bokeh_sessions_{what}_total" for what in ("created", "destroyed", "orphaned")
)
SESSIONS, SEATS = "bokeh_sessions", "bokeh_seats_taken"
# Without agents, the connections of the port are counted instead of sessions.
_ESTIMATE = 'state=~"(connected)?",quality=~"(estimated)?"'
_CONTAINER = 'container!="",container!="POD",pod!=""'

ParseSignal = Callable[[Any], SignalAnswer]


class _SignalQuery(NamedTuple):
    """The query of a signal.

    metric: "" if there are several. rate: whether its samples span a longer window.
    """

    metric: str
    samples: Callable[[Any, PrometheusSettings], PodSamples]
    matchers: str = ""
    rate: bool = False


def _gauge(scale: int) -> Callable[[Any, PrometheusSettings], PodSamples]:
    return lambda answer, _: rows.gauges(answer, scale=scale)


def _moves(counter: str, *, up: bool) -> _SignalQuery:
    names = "|".join((counter, ORPHANED, SESSIONS))
    return _SignalQuery(
        "",
        lambda answer, _: rows.moves(answer, counter, ORPHANED, SESSIONS, up=up),
        f'__name__=~"{names}",{_ESTIMATE}',
        rate=True,
    )


_SIGNALS: dict[tuple[str, str], _SignalQuery] = {
    ("sessions", "exporter"): _SignalQuery(
        "",
        lambda answer, settings: rows.sessions(
            rows.without(answer, SEATS), settings.scrape_interval
        ),
        f'__name__=~"{SESSIONS}|{SEATS}",state=~"(connected)?"',
    ),
    ("cpu", "exporter"): _SignalQuery(
        "bokeh_cpu_seconds_total", lambda answer, _: rows.rates(answer), rate=True
    ),
    ("memory", "exporter"): _SignalQuery("bokeh_memory_working_set_bytes", _gauge(1000)),
    ("memory_limit", "exporter"): _SignalQuery("bokeh_memory_limit_bytes", _gauge(1000)),
    ("arrivals", "exporter"): _moves(CREATED, up=True),
    ("departures", "exporter"): _moves(DESTROYED, up=False),
    ("oldest_session", "exporter"): _SignalQuery(
        "bokeh_session_oldest_age_seconds", lambda answer, _: rows.highest(answer, scale=1000)
    ),
    ("cpu", "cadvisor"): _SignalQuery(
        "container_cpu_usage_seconds_total",
        lambda answer, _: rows.rates(answer, ("container",)),
        _CONTAINER,
        rate=True,
    ),
    ("memory", "cadvisor"): _SignalQuery(
        "container_memory_working_set_bytes", lambda *_: {}, _CONTAINER
    ),
}


def _query(signal: Signal, source: str, settings: PrometheusSettings) -> tuple[str, ParseSignal]:
    """Return the query of a signal, and the function that parses its answer."""
    kind = _SIGNALS[signal, source]
    matchers = ",".join(part for part in (kind.matchers, settings.match) if part)
    seconds = settings.window if kind.rate else settings.fresh_for
    by_container = (signal, source) == ("memory", "cadvisor")

    def read(answer: Any) -> SignalAnswer:
        containers = rows.containers(answer, 1000) if by_container else {}
        seats: PodSamples = {}
        hint = rows.lost_labels(answer, kind.metric or CREATED)
        if signal == "sessions":
            seats = rows.seats(rows.named(answer, SEATS), settings.scrape_interval)
            hint = rows.lost_labels(rows.without(answer, SEATS), SESSIONS)
        return SignalAnswer(kind.samples(answer, settings), seats, containers, hint, seconds)

    return f"{kind.metric}{{{matchers}}}[{round(seconds * 1000)}ms]", read
