"""Calls of the Kubernetes API, each with one deadline and a limit on the size of its answer.

An error is one line that names verb and resource, and says what to change.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kubernetes.client.exceptions import ApiException, OpenApiException
from urllib3.exceptions import HTTPError

from autoscaler.adapters.kubernetes.deadline import LARGEST_OBJECT, Deadline, read_body
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.errors import (
    AutoscalerError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    TargetNotFoundError,
)
from exporter.texts import visible

CONNECT_WITHIN, ANSWER_WITHIN = 3.0, 5.0
# Seconds for everything together, however slowly the answer comes.
WITHIN = CONNECT_WITHIN + ANSWER_WITHIN
# Bytes of the answer to a list request: a pod has about 10 KiB.
LARGEST_LIST = 64 << 20
# Characters of an error of the API server, or of whatever answers in its place.
LONGEST_REASON = 300


def ask(what: tuple[str, str, str, str], call: Callable[..., Any], *args: Any, **kw: Any) -> Json:
    """Make one call within its deadline and return its JSON. Raises only `autoscaler.errors`."""
    problem: object = None
    with Deadline(WITHIN) as deadline:
        try:
            parsed: Json = json.loads(_read(what[0], call, *args, **kw))
        except ApiException as error:
            if error.status and not deadline.has_passed:
                raise _refusal(what, error.status, (error.body or "").encode()) from None
            problem = error.reason
        except (HTTPError, OpenApiException, OSError, ValueError, RecursionError) as error:
            problem = error
    if deadline.has_passed:
        problem = f"no complete answer within {WITHIN:g} s"
    if problem is not None:
        words = f"cannot {_words(what)}: no answer from the Kubernetes API: {one_line(problem)}"
        raise ClusterError(words)
    return parsed


def _read(verb: str, call: Callable[..., Any], *args: Any, **kw: Any) -> bytes:
    timeouts = (CONNECT_WITHIN, ANSWER_WITHIN)
    answer = call(*args, **kw, _preload_content=False, _request_timeout=timeouts)
    return read_body(answer, LARGEST_LIST if verb == "list" else LARGEST_OBJECT)


def _refusal(what: tuple[str, str, str, str], status: int, body: bytes) -> AutoscalerError:
    verb, resource, namespace, name = what
    said = _message(body) or f"HTTP {status}"
    if status in (401, 403):
        cure = "check the credentials" if status == 401 else f"add {verb} on {resource} to the Role"
        return ForbiddenError(
            f"not allowed to {verb} {resource} in namespace {namespace}; {cure} ({said})"
        )
    if status == 404:
        return TargetNotFoundError(f"cannot {_words(what)}: {said}")
    if status == 409:
        return ConflictError(f"{namespace}/{name} has changed since it was read: {said}")
    kind = RefusedError if 400 <= status < 500 else ClusterError
    return kind(f"cannot {_words(what)}: HTTP {status}: {said}")


def _words(what: tuple[str, str, str, str]) -> str:
    verb, resource, namespace, name = what
    return f"{verb} {resource} " + (f"{namespace}/{name}" if name else f"in namespace {namespace}")


def _message(body: bytes) -> str:
    """Return the API server's message, or the start of whatever answered in its place."""
    try:
        return one_line(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return one_line(body.decode(errors="replace"))


def one_line(text: object) -> str:
    """Return a text of the API server on one line, without control characters, cut to a limit."""
    return visible(" ".join(str(text).split()), LONGEST_REASON)
