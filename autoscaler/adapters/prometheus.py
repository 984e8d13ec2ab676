"""Prometheus through prometheus-api-client: every sample of one pass, in a few queries.

One query for each signal and source, and one for all queries of the users together, however many
policies there are. The client has no deadline, retries by itself and drops warnings, so it is
given a session of ours that bounds each answer in time and size and reads it critically.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from autoscaler.adapters import prometheus_rows as rows
from autoscaler.errors import MetricsError
from autoscaler.model import Sample, Unavailable
from autoscaler.ports import Readings, Signal

CONNECT_WITHIN = 3.0
LARGEST_ANSWER = 64 * 1024 * 1024
CHUNK = 65_536
QUERIES_AT_ONCE = 8
# A rate needs a few scrapes; a minute smooths as metrics-server's window does.
CPU_WINDOW = 60.0
CONTAINERS = '{container!="",container!="POD",pod!=""}'
MARK = "bokeh_autoscaler_query"

Answer = Mapping[rows.PodKey, Sample]


class QueryRefusedError(MetricsError):
    """Prometheus understood the request and refuses the query itself (HTTP 400 or 422)."""


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """How to reach Prometheus, and how often it scrapes. Times in seconds.

    timeout: longest wait for one whole answer. Files are read at each pass, for tokens rotate.
    """

    url: str
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 5.0
    scrape_interval: float = 15.0


class PrometheusSource:
    """Implements `ports.MetricsSource`."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._session = _Session(settings)
        self._client = PrometheusConnect(
            settings.url.rstrip("/"), retry=Retry(0, read=False), session=self._session
        )
        self._alone: set[str] = set()

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        """All samples of a pass. What could not be read is said in `failed` or in `external`.

        Samples older than two scrapes are missing.
        """
        wanted, asked = sorted(set(signals)), sorted(set(queries))
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as pool:
            answers = {pair: pool.submit(self._signal, *pair, now) for pair in wanted}
            external = self._external(asked, pool)
        samples: dict[tuple[Signal, str], Answer] = {}
        failed: dict[tuple[Signal, str], str] = {}
        for pair, answer in answers.items():
            try:
                samples[pair] = answer.result()
            except MetricsError as error:
                failed[pair] = str(error)
        return Readings(samples, external, failed)

    def _signal(self, signal: Signal, source: str, now: float) -> Answer:
        """The samples of one signal. Raises MetricsError."""
        query, parse = _QUERIES[signal, source]
        recent = 2 * self._settings.scrape_interval
        window = max(CPU_WINDOW, 4 * self._settings.scrape_interval)
        seconds = window if parse is rows.rates else recent
        answer = parse(self._ask(f"{query}[{seconds:.0f}s]"))
        return {pod: sample for pod, sample in answer.items() if sample.at >= now - recent}

    def _external(
        self, queries: Sequence[str], pool: ThreadPoolExecutor
    ) -> dict[str, Sample | Unavailable]:
        """The users' queries: all in one request, but those that cannot be combined."""
        together = [query for query in queries if query not in self._alone]
        found: dict[str, Sample | Unavailable] = {}
        if together:
            try:
                found = self._combined(together)
            except QueryRefusedError:
                # One of them is wrong, or a scalar: from now on each of those is asked alone.
                found = self._one_by_one(together, pool)
                self._alone |= {q for q in together if not self._can_be_combined(q)}
            except MetricsError as error:
                found = dict.fromkeys(together, Unavailable(str(error)))
        alone = [query for query in queries if query in self._alone and query not in found]
        return {**found, **self._one_by_one(alone, pool)}

    def _combined(self, queries: Sequence[str]) -> dict[str, Sample | Unavailable]:
        result = self._ask(" or ".join(_marked(q, str(i)) for i, q in enumerate(queries)))
        by_mark: dict[str, list[Any]] = {str(index): [] for index in range(len(queries))}
        for row in result:
            by_mark[row["metric"][MARK]].append(row)
        return {query: rows.single(by_mark[str(i)]) for i, query in enumerate(queries)}

    def _one_by_one(
        self, queries: Sequence[str], pool: ThreadPoolExecutor
    ) -> dict[str, Sample | Unavailable]:
        answers: dict[str, Future[Any]] = {q: pool.submit(self._ask, q) for q in queries}
        found: dict[str, Sample | Unavailable] = {}
        for query, answer in answers.items():
            try:
                found[query] = rows.single(answer.result())
            except MetricsError as error:
                found[query] = Unavailable(str(error))
        return found

    def _can_be_combined(self, query: str) -> bool:
        try:
            self._ask(_marked(query, "0"))
        except MetricsError:
            return False
        return True

    def _ask(self, query: str) -> list[Any]:
        """One instant query. Raises MetricsError, one line that names the address."""
        try:
            result: list[Any] = self._client.custom_query(query)
        except MetricsError:
            raise
        except requests.exceptions.RequestException as error:
            raise self._session.failure(_reason(error, self._settings.timeout)) from None
        except (OSError, HTTPError, KeyError, TypeError, ValueError) as error:
            raise self._session.failure(f"unusable answer: {error!r}") from None
        return result


def _marked(query: str, mark: str) -> str:
    """The query with a label that tells its rows from those of the others.

    On lines of its own, for a query may end in a comment.
    """
    return f'label_replace((\n{query}\n), "{MARK}", "{mark}", "", "")'


def _milli_gauges(answer: Iterable[rows.Row]) -> Answer:
    return rows.gauges(answer, scale=1000)


_QUERIES: dict[tuple[str, str], tuple[str, Callable[[Iterable[rows.Row]], Answer]]] = {
    ("sessions", "exporter"): ('bokeh_sessions{state="connected"}', rows.gauges),
    ("cpu", "exporter"): ("bokeh_cpu_seconds_total", rows.rates),
    ("memory", "exporter"): ("bokeh_memory_working_set_bytes", _milli_gauges),
    ("cpu", "cadvisor"): (f"container_cpu_usage_seconds_total{CONTAINERS}", rows.rates),
    ("memory", "cadvisor"): (f"container_memory_working_set_bytes{CONTAINERS}", _milli_gauges),
}


class _Session(requests.Session):
    """A session that adds credentials, ends in time, and accepts only a whole, clean answer."""

    def __init__(self, settings: PrometheusSettings) -> None:
        super().__init__()
        self._settings = settings
        self.trust_env = False  # no ~/.netrc in place of our token, no proxy from the environment
        self.headers.update(settings.headers)
        if settings.ca_file is not None:
            self.verify = str(settings.ca_file)

    def failure(self, reason: str) -> MetricsError:
        """The error for the reader."""
        return MetricsError(f"Prometheus at {self._settings.url}: {reason}")

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """One request. Raises MetricsError for every answer that is not a clean result."""
        self._authorize(request)
        deadline = time.monotonic() + self._settings.timeout
        options["timeout"] = (min(CONNECT_WITHIN, self._settings.timeout), self._settings.timeout)
        options["allow_redirects"] = False
        response = super().send(request, **{**options, "stream": True})
        try:
            # What requests itself does on reading a streamed body; it has no public way.
            response._content = self._body(response, deadline)  # noqa: SLF001
        finally:
            response.close()
        self._check(response)
        return response

    def _authorize(self, request: requests.PreparedRequest) -> None:
        settings = self._settings
        if settings.bearer_token_file is not None:
            token = self._secret(settings.bearer_token_file)
            request.headers["Authorization"] = f"Bearer {token}"
        elif settings.username is not None and settings.password_file is not None:
            password = self._secret(settings.password_file)
            request.prepare_auth((settings.username, password))

    def _secret(self, file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self.failure(f"{file} cannot be read: {error}") from None

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        """Read what has come, again and again, until the end or the deadline."""
        parts: list[bytes] = []
        size = 0
        while part := response.raw.read1(CHUNK, decode_content=True):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise self.failure(f"no whole answer within {self._settings.timeout:g} s")
            if size > LARGEST_ANSWER:
                raise self.failure(f"an answer of more than {LARGEST_ANSWER >> 20} MiB")
        return b"".join(parts)

    def _check(self, response: requests.Response) -> None:
        answer = _json(response.content)
        said = str(answer.get("error", "")) if answer else ""
        code = response.status_code
        if code in (400, 422) and answer:
            raise QueryRefusedError(str(self.failure(f"the query is refused: {said}")))
        if code in (401, 403):
            cure = "set --prometheus-bearer-token-file or --prometheus-username"
            raise self.failure(f"{code} {response.reason}: {cure}")
        if code != 200:
            raise self.failure(f"{code} {response.reason} {said}".rstrip())
        if answer is None:
            raise self.failure("it answers, but not in JSON: is --prometheus-url right?")
        if answer.get("status") != "success" or "data" not in answer:
            raise self.failure(f"an error in place of data: {said or 'no reason given'}")
        if partial := _warnings(answer):
            raise self.failure(f"partial data: {partial}")


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _warnings(answer: Mapping[str, Any]) -> str:
    """What a store behind Prometheus could not deliver (Thanos, Mimir); PromQL's hints are none."""
    words = [str(word) for word in answer.get("warnings") or ()]
    return "; ".join(word for word in words if not word.startswith("PromQL"))


def _reason(error: requests.exceptions.RequestException, timeout: float) -> str:
    """A client's exception in the reader's words."""
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted: set --prometheus-ca-file"
    if isinstance(
        error,
        requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema
        | requests.exceptions.InvalidURL,
    ):
        return "expected an address such as http://prometheus:9090"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection: is --prometheus-url right, and is it up?"
    return f"{type(error).__name__}"
