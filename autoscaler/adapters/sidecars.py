"""Ask the exporters in the pods for `/state`, or give them a notice: concurrently, within 2 s."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, TypeAdapter, ValidationError

from autoscaler.adapters.http.answers import NoReply, Reply, json_of
from autoscaler.adapters.http.fetching import Page, fetch_all
from autoscaler.model import Occupancy, PodState, Unavailable, Unreachable
from exporter.tokens import TokenError, TokenFile

# Seconds for an exchange, from connecting to the last byte; an idle sidecar needs 0.01.
ANSWER_WITHIN = 2.0
# Seconds for all exchanges, so that many pods that hang do not delay the policies for longer.
ALL_WITHIN = 2 * ANSWER_WITHIN
# Bytes; an exporter's answer has half a KiB and 100 bytes per worker.
LARGEST_ANSWER = 64 << 10
# The HTTP status for a wrong token.
UNAUTHORIZED = 401

_Count = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_Age = Annotated[float, Field(strict=True, ge=0, lt=1e12, allow_inf_nan=False)]


class _Part(BaseModel):
    """Part of the exporter's `/state`; unknown keys, as of a newer exporter, are ignored."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class _WorkerPart(_Part):
    ok: StrictBool


class _SessionsPart(_Part):
    pending: _Count
    opening: _Count
    blocked: _Count


class _ConnectionsPart(_Part):
    live: _Count


class _HintsPart(_Part):
    may_close: _Count = 0


class _StatePage(_Part):
    ready: StrictBool
    workers: tuple[_WorkerPart, ...]
    sessions: _SessionsPart
    connections: _ConnectionsPart
    requests: _Count | None = 0  # None without agents; then the port's connections are counted
    empty_for_s: _Age | None
    last_activity_age_s: _Age | None
    hints: _HintsPart = Field(default_factory=_HintsPart)  # an older exporter has none
    released_total: _Count | None = None  # of an exporter that does not count them


class _NoticePage(_Part):
    """The exporter's answer to a notice."""

    workers: _Count
    took: _Count
    sessions: _Count


_STATE = TypeAdapter(_StatePage)
_NOTICE = TypeAdapter(_NoticePage)


class HttpSidecars:
    """Implements `ports.Sidecars`. tokens: the bearer tokens to send, or None."""

    def __init__(self, port: int = 9550, tokens: TokenFile | None = None) -> None:
        self._port = port
        self._tokens = tokens

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        """Return the answer of each pod's sidecar, by UID.

        Pods without an address are not asked, and neither are those for which no time is left
        because many others do not answer.
        """
        pages = {pod.uid: Page(pod.ip, self._port, "/state") for pod in pods if pod.ip}
        answers = self._answers([*pages.values()])
        found = zip(pages.items(), answers, strict=True)
        return {uid: _parsed(page, answer) for (uid, page), answer in found if answer is not None}

    def notify(
        self, pods: Sequence[PodState], notice: Mapping[str, object]
    ) -> Mapping[str, int | Unavailable]:
        """Show a notice to the users of these pods; `exporter/agent/notice.py` has its fields.

        Returns by UID to how many sessions each pod shows it, or why it does not. Never raises.
        """
        pages = {pod.uid: Page(pod.ip, self._port, "/notice") for pod in pods if pod.ip}
        answers = self._answers([*pages.values()], json.dumps(notice).encode())
        found = zip(pages.items(), answers, strict=True)
        given: dict[str, int | Unavailable] = {
            uid: _told(page, answer) for (uid, page), answer in found
        }
        nowhere = Unreachable("it has no address yet, or no time was left to ask it")
        return {pod.uid: given.get(pod.uid, nowhere) for pod in pods}

    def _answers(
        self, pages: Sequence[Page], body: bytes | None = None
    ) -> Sequence[Reply | NoReply | None]:
        """Return the answers in the order of the pages; tries the next token after a 401."""
        if self._tokens is None:
            return _fetched(pages, ALL_WITHIN, body)
        try:
            tokens = self._tokens.tokens()
        except TokenError as error:
            return [NoReply(f"was not asked: {error}")] * len(pages)
        until = time.monotonic() + ALL_WITHIN
        answers = list(_fetched(pages, ALL_WITHIN, body, tokens[0]))
        for token in tokens[1:]:
            again = [number for number, answer in enumerate(answers) if _is_refusal(answer)]
            left = until - time.monotonic()
            if not again or left <= 0:
                break
            found = _fetched([pages[number] for number in again], left, body, token)
            for number, answer in zip(again, found, strict=True):
                answers[number] = answer or answers[number]
        return answers


def _fetched(
    pages: Sequence[Page], in_all: float, body: bytes | None, token: str | None = None
) -> list[Reply | NoReply | None]:
    return fetch_all(
        pages,
        within=ANSWER_WITHIN,
        largest=LARGEST_ANSWER,
        in_all=in_all,
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
        body=body,
    )


def _is_refusal(answer: Reply | NoReply | None) -> bool:
    return isinstance(answer, Reply) and answer.status == UNAUTHORIZED


def _told(page: Page, answer: Reply | NoReply | None) -> int | Unavailable:
    """Return to how many sessions of a pod a notice is shown, or why it is not."""
    if answer is None:
        return Unreachable(f"{page.url} was not asked, because others took too long")
    if isinstance(answer, Reply) and answer.status in (403, 404, 405):
        return Unavailable(
            f"{page.url} shows no notices; it needs --token-file, and an exporter of this version"
        )
    body = _body(page, answer)
    if isinstance(body, Unreachable):
        return body
    try:
        said = _NOTICE.validate_python(json_of(body))
    except ValueError:
        return Unreachable(f"{page.url} did not answer as an exporter does")
    if said.took < said.workers:
        return Unavailable(
            f"{page.url}: {said.workers - said.took} of {said.workers} workers did not take the "
            "notice: set BOKEH_EXPORTER_TRUSTED_UIDS in the app's container to the UID of the "
            "sidecar, which is 65532 in our image, or update the app's agent if it is older"
        )
    return said.sessions


def _body(page: Page, answer: Reply | NoReply) -> bytes | bytearray | Unreachable:
    """Return the content of an answer, or why it has none for us."""
    if isinstance(answer, NoReply):
        return Unreachable(f"{page.url} {answer.reason}")
    if answer.status == UNAUTHORIZED:
        return Unreachable(f"{page.url} answered HTTP 401; set --sidecar-token-file to its token")
    if answer.status != 200:
        return Unreachable(f"{page.url} answered HTTP {answer.status}")
    return answer.body


def _parsed(page: Page, answer: Reply | NoReply) -> Occupancy | Unavailable:
    """Return an answer as our value; an answer that no exporter gives counts as unreachable."""
    body = _body(page, answer)
    if isinstance(body, Unreachable):
        return body
    try:
        return occupancy(json_of(body))
    except ValueError:
        return Unreachable(f"{page.url} did not answer with JSON")
    except Exception as error:  # a bug of ours, or an unexpected answer
        return Unavailable(f"{page.url} gave an answer that cannot be parsed: {error!r}")


def occupancy(state: object) -> Occupancy | Unavailable:
    """Return the exporter's `/state` as our value, or why it is unusable.

    A sidecar that sees no server, or not all of its workers, cannot know that the pod is empty.
    """
    if isinstance(state, Mapping) and "empty_for_s" not in state:
        return Unavailable(
            "its exporter is too old to report empty_for_s; update the sidecar's image"
        )
    try:
        said = _STATE.validate_python(state)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "/state"
        return Unavailable(f"its sidecar's answer is unusable: {where}: {first['msg']}")
    if not said.ready:
        return Unavailable("its sidecar sees no Bokeh server")
    if not all(worker.ok for worker in said.workers):
        return Unavailable("a worker does not answer its sidecar")
    if said.connections.live and said.empty_for_s is not None:
        return Unavailable("its sidecar reports both connections and that the pod is empty")
    return Occupancy(
        live=said.connections.live,
        opening=said.sessions.pending + said.sessions.opening,
        blocked=said.sessions.blocked,
        requests=said.requests or 0,
        empty_for=said.empty_for_s,
        idle_for=said.last_activity_age_s,
        may_close=said.hints.may_close,
        released=said.released_total,
    )
