"""Calls of the Kubernetes API, each with one deadline and a limit on the size of its answer.

An error is one line that names verb and resource, and says what to change.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException, OpenApiException
from urllib3.exceptions import HTTPError

from autoscaler.adapters.kubernetes.deadline import (
    LARGEST_OBJECT,
    Deadline,
    read_body,
    read_lines,
    retry_after,
)
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    TargetNotFoundError,
    ThrottledError,
)
from exporter.texts import visible

T = TypeVar("T")
# Verb, resource, namespace ("" for all of them) and name ("" for a list) of a request.
What = tuple[str, str, str, str]
CONNECT_WITHIN, ANSWER_WITHIN = 3.0, 5.0
# Seconds for everything together, however slowly the answer comes.
WITHIN = CONNECT_WITHIN + ANSWER_WITHIN
# Bytes of the answer to a list request: a pod has about 10 KiB.
LARGEST_LIST = 64 << 20
# Answers to a watch that cannot continue: too old a version, none at all, or one from the future,
# as of an API server whose data was restored.
GONE = (400, 410, 504)
# Characters of an error of the API server, or of whatever answers in its place.
LONGEST_REASON = 300


def ask(what: What, call: Callable[..., Any], *args: Any, **kw: Any) -> Json:
    """Make one call within its deadline and return its JSON. Raises only `autoscaler.errors`."""

    def answer() -> Json:
        parsed: Json = json.loads(_read(what[0], call, *args, **kw))
        return parsed

    return _bounded(what, Deadline(WITHIN), answer)


def follow(
    what: What,
    deadline: Deadline,
    call: Callable[..., Any],
    begin: Callable[[], None],
    heed: Callable[[Json], None],
    **kw: Any,
) -> None:
    """Make one watch request and pass each of its events to `heed`, until the server ends it.

    begin: called once the server has accepted the request. Raises ClusterError if the deadline
    passes before the end, GoneError if the watch cannot continue from the version that it was asked
    for, and what else `ask` raises.
    """

    def answer() -> None:
        timeouts = (CONNECT_WITHIN, deadline.seconds)
        stream = call(**kw, watch=True, _preload_content=False, _request_timeout=timeouts)
        with closing(stream):
            begin()
            for line in read_lines(stream, LARGEST_OBJECT):
                event: Json = json.loads(line)
                if not _is_event(event):
                    raise _unknown(what, line)
                if event["type"] == "ERROR":
                    raise _end(what, event["object"])
                heed(event)

    _bounded(what, deadline, answer)


def _bounded(what: What, deadline: Deadline, work: Callable[[], T]) -> T:
    """Do some work with the API server. Raises only `autoscaler.errors`."""
    problem: object = None
    with deadline:
        try:
            done = work()
        except ApiException as error:
            if error.status and not deadline.has_passed:
                wait = retry_after((error.headers or {}).get("Retry-After"))
                raise _refusal(what, error.status, (error.body or "").encode(), wait) from None
            problem = error.reason
        except (HTTPError, OpenApiException, OSError, ValueError, RecursionError) as error:
            problem = error
    if deadline.has_passed:
        problem = f"no complete answer within {deadline.seconds:g} s"
    if problem is None:
        return done
    words = f"cannot {_words(what)}: no answer from the Kubernetes API: {one_line(problem)}"
    raise ClusterError(words)


def _is_event(event: Any) -> bool:
    """Return whether it can be an event of a watch; an answer of something else need not be."""
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        return False
    has_metadata = isinstance(event["object"].get("metadata"), dict)
    return event.get("type") == "ERROR" or (has_metadata and isinstance(event.get("type"), str))


def _end(what: What, status: Json) -> AutoscalerError:
    """Return the error with which a watch ends; without a code, it is not known what it means."""
    body, code = json.dumps(status).encode(), status.get("code")
    return _refusal(what, code, body) if isinstance(code, int) else _unknown(what, body)


def _unknown(what: What, said: bytes) -> AutoscalerError:
    return GoneError(f"cannot {_words(what)}: not an event that is known: {_message(said)}")


def _read(verb: str, call: Callable[..., Any], *args: Any, **kw: Any) -> bytes:
    timeouts = (CONNECT_WITHIN, ANSWER_WITHIN)
    answer = call(*args, **kw, _preload_content=False, _request_timeout=timeouts)
    return read_body(answer, LARGEST_LIST if verb == "list" else LARGEST_OBJECT)


def _refusal(what: What, status: int, body: bytes, wait: float = 0.0) -> AutoscalerError:
    error = _error(what, status, body)
    if isinstance(error, ClusterError):
        error.retry_after = wait
    return error


def _error(what: What, status: int, body: bytes) -> AutoscalerError:
    verb, resource, namespace, name = what
    said = _message(body) or f"HTTP {status}"
    if status in (401, 403):
        role = "Role" if namespace else "ClusterRole"
        right = f"add {verb} on {resource} to the {role}"
        cure = "check the credentials" if status == 401 else right
        return ForbiddenError(
            f"not allowed to {verb} {resource} in {_place(what)}; {cure} ({said})"
        )
    if status in GONE and verb == "watch":
        return GoneError(f"cannot {_words(what)}: HTTP {status}: {said}")
    if status == 404:
        return TargetNotFoundError(f"cannot {_words(what)}: {said}")
    if status == 409:
        return ConflictError(f"{namespace}/{name} has changed since it was read: {said}")
    if status == 429:
        return ThrottledError(f"cannot {_words(what)}: HTTP 429: {said}")
    kind = RefusedError if 400 <= status < 500 else ClusterError
    return kind(f"cannot {_words(what)}: HTTP {status}: {said}")


def _words(what: What) -> str:
    verb, resource, namespace, name = what
    return f"{verb} {resource} " + (f"{namespace}/{name}" if name else f"in {_place(what)}")


def _place(what: What) -> str:
    return f"namespace {what[2]}" if what[2] else "all namespaces"


class GoneError(ClusterError):
    """A watch cannot continue from the version that it was asked for: list again."""


def _message(body: bytes) -> str:
    """Return the API server's message, or the start of whatever answered in its place."""
    try:
        return one_line(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return one_line(body.decode(errors="replace"))


def one_line(text: object) -> str:
    """Return a text of the API server on one line, without control characters, cut to a limit."""
    return visible(" ".join(str(text).split()), LONGEST_REASON)
