"""The HTTP session of the Prometheus client: credentials, deadlines, and checks of each answer.

The client itself has no deadline, retries, and drops warnings. So it gets this session, which sends
requests over our own channel.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from autoscaler.adapters.http.answers import NoReply, Reply, json_of
from autoscaler.adapters.http.channel import Channel, endpoint_of
from autoscaler.core import staleness
from autoscaler.errors import MetricsError
from exporter.texts import LONGEST_NAME, visible

# Bytes of 24,000 series with four samples each. In memory they take three times as much, so only
# one large answer is parsed at a time, and a pod that exports too many series cannot fill it.
LARGEST_ANSWER, LARGE_ANSWER = 8 << 20, 1 << 20
_LARGE_ONES = threading.Semaphore()
WRONG_ADDRESS = "expected an address such as http://prometheus:9090"


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """How to connect to Prometheus, and how often it scrapes. Times in seconds.

    url: may have a path, and query parameters that are sent with each request. match: label
    matchers added to each of our selectors, such as cluster="a". timeout: for a complete answer.
    patience: how long a pass waits for a policy's query; later answers are read by the next pass.
    Files are reread for each request, because tokens rotate.
    """

    url: str
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    match: str = ""
    timeout: float = 5.0
    patience: float = 1.0
    scrape_interval: float = 15.0

    @property
    def fresh_for(self) -> float:
        """The age in seconds above which a sample is ignored."""
        return staleness.fresh_for(self.scrape_interval)

    @property
    def window(self) -> float:
        """The seconds over which rates are computed: several scrapes, even if one fails."""
        return 2 * self.fresh_for


class Address(NamedTuple):
    """The parts of a URL. shown: without parameters and passwords, for messages."""

    base: str
    parameters: Mapping[str, list[str]]
    shown: str


def address_of(url: str) -> Address:
    """Return the parts of a URL such as https://host/api/prom?tenant=a."""
    try:
        parts = urlsplit(url)
        base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        host = parts.netloc.rpartition("@")[2]
        shown = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return Address(base, parse_qs(parts.query, keep_blank_values=True), shown)
    except ValueError:  # the client will report what is wrong with it
        return Address(url, {}, url)


class QueryRejectedError(MetricsError):
    """Prometheus rejected the query itself (HTTP 400 or 422)."""


class PrometheusSession(requests.Session):
    """A session that adds credentials, has a deadline, and accepts only complete results.

    largest: size limit of an answer in bytes.
    """

    def __init__(self, settings: PrometheusSettings, largest: int = LARGEST_ANSWER) -> None:
        super().__init__()
        self._settings = settings
        self._largest = largest
        self.address = address_of(settings.url)
        self.params = dict(self.address.parameters)
        self.trust_env = False  # ignore ~/.netrc and the proxies of the environment
        self.headers.update(settings.headers)
        server = endpoint_of(self.address.base, self._trust)
        self._channel = None if server is None else Channel(server)
        self._mine = threading.local()

    @contextmanager
    def reading(self, within: float | None = None) -> Iterator[None]:
        """Wrap a request and the parsing of its answer, so that large ones run one at a time.

        within: seconds for the request, in place of the timeout.
        """
        self._mine.is_large = False
        self._mine.within = within
        try:
            yield
        finally:
            if self._mine.is_large:
                _LARGE_ONES.release()

    def failure(self, reason: str) -> MetricsError:
        """Return an error that names the address of Prometheus."""
        return MetricsError(f"Prometheus at {self.address.shown}: {reason}")

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Send a request. Raises MetricsError unless the answer is a complete result."""
        self._authorize(request)
        reply = self._reply(request)
        if isinstance(reply, NoReply):
            raise self.failure(reply.reason)
        return _Checked(self._checked(reply))

    def _reply(self, request: requests.PreparedRequest) -> Reply | NoReply:
        if self._channel is None:
            raise self.failure(WRONG_ADDRESS)
        headers = {name: str(value) for name, value in request.headers.items()}
        within: float = getattr(self._mine, "within", None) or self._settings.timeout
        try:
            return self._channel.get(
                request.path_url, headers, within=within, largest=self._largest
            )
        except TimeoutError:
            raise self.failure(f"no answer within {within:g} s") from None
        except ssl.SSLError:
            raise self.failure("its certificate is not trusted; set --prometheus-ca-file") from None
        except OSError:
            raise self.failure("cannot connect; check --prometheus-url and that it runs") from None

    def _trust(self) -> ssl.SSLContext:
        """Return the TLS context of a new connection, because the CA file may be renewed."""
        file = self._settings.ca_file or Path(DEFAULT_CA_BUNDLE_PATH)
        try:
            context = ssl.create_default_context(cafile=str(file))
        except OSError as error:
            raise self.failure(f"cannot read the CA file {file}: {error}") from None
        context.set_alpn_protocols(["http/1.1"])
        return context

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
            raise self.failure(f"cannot read {file}: {error}") from None

    def _checked(self, reply: Reply) -> dict[str, Any]:
        """Return the answer. Raises MetricsError unless it is a complete result."""
        if len(reply.body) > LARGE_ANSWER:
            _LARGE_ONES.acquire()
            self._mine.is_large = True
        answer, code, reason = _json(reply.body), reply.status, visible(reply.reason, LONGEST_NAME)
        said = visible(" ".join(str(answer.get("error", "")).split()), 500) if answer else ""
        if code in (400, 422) and answer:
            raise QueryRejectedError(str(self.failure(f"the query is invalid: {said}")))
        if code in (401, 403):
            cure = "set --prometheus-bearer-token-file or --prometheus-username"
            raise self.failure(f"HTTP {code} {reason}; {cure}")
        if code != 200:
            raise self.failure(f"HTTP {code} {reason} {said}".rstrip())
        if answer is None:
            raise self.failure("the response is not JSON; check --prometheus-url")
        data = answer.get("data")
        if answer.get("status") != "success" or not isinstance(data, dict):
            raise self.failure(f"an error instead of data: {said or 'no reason given'}")
        if data.get("resultType") == "string":
            raise QueryRejectedError("the query returned a string, expected a number")
        if partial := _partial(answer, reply.headers):
            raise self.failure(f"partial data: {partial}")
        return answer


class _Checked(requests.Response):
    """A response for the client, which has been parsed and checked already."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.status_code = 200
        self._answer = answer

    def json(self, **_: Any) -> dict[str, Any]:
        """Return the answer, without parsing it again."""
        return self._answer


def _json(body: bytes | bytearray) -> dict[str, Any] | None:
    try:
        answer = json_of(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _partial(answer: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return what the stores behind Prometheus report as missing, or "" if nothing is.

    Thanos, Cortex and remote reads report it in `warnings`, which also has hints of PromQL;
    VictoriaMetrics in `isPartial`, M3 in a header.
    """
    warnings = answer.get("warnings")
    words = [str(word) for word in warnings] if isinstance(warnings, list) else []
    words = [word for word in words if not word.startswith("PromQL")]
    if answer.get("isPartial"):
        words.append("isPartial: a storage node did not answer")
    if limited := headers.get("m3-results-limited"):
        words.append(f"M3-Results-Limited: {limited}")
    return "; ".join(words)


def reason(error: requests.exceptions.RequestException) -> str:
    """Return the message for an exception of the client, which it raises for a wrong address."""
    wrong = (
        requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema
        | requests.exceptions.InvalidURL
    )
    return WRONG_ADDRESS if isinstance(error, wrong) else type(error).__name__
