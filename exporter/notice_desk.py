"""`POST /notice`: pass a notice on to all workers, which show it in the pages of their users."""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from exporter.agent.notice import TELL, Notice, parsed, plain
from exporter.agent.pod import LAUNCHER
from exporter.collect import Peers
from exporter.console import say
from exporter.web import PLAIN, Request, Response
from exporter.wire import Report, parse

MOST, PERIOD_SECONDS = 6, 60.0  # notices of each kind
UNGUARDED = (
    "this sidecar shows no notices, because anybody could send them: start it with --token-file, "
    "and send one of its tokens\n"
)
JSON = "application/json"


class NoticeDesk:
    """Checks notices, limits their rate, logs them and passes them on.

    is_guarded: whether each request has shown a token. steady: the monotonic clock.
    """

    def __init__(
        self, peers: Peers, *, is_guarded: bool, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._peers = peers
        self._is_guarded = is_guarded
        self._steady = steady
        self._passed: dict[str, deque[float]] = {}

    def answer(self, request: Request) -> Response:
        """Return the response to a request that carries a notice."""
        if request.method != "POST":
            return Response(405, PLAIN, b"send a notice by POST\n", (("Allow", "POST"),))
        if not self._is_guarded:
            return Response(403, PLAIN, UNGUARDED.encode())
        try:
            said = json.loads(request.body)
            known = isinstance(said, Mapping)
            notice = parsed({**said, "id": secrets.token_hex(8)} if known else said)
        except (ValueError, RecursionError) as error:  # the body may nest a thousand brackets
            return Response(400, PLAIN, f"invalid notice: {error}\n".encode())
        return self._limited(notice.kind) or self._pass_on(notice)

    def _limited(self, kind: str) -> Response | None:
        """Return the refusal if too many notices of this kind have been passed on lately."""
        now, passed = self._steady(), self._passed.setdefault(kind, deque())
        while passed and now - passed[0] >= PERIOD_SECONDS:
            passed.popleft()
        if len(passed) < MOST:
            passed.append(now)
            return None
        left = str(max(1, round(PERIOD_SECONDS - (now - passed[0]))))
        body = f"more than {MOST} notices in a minute; try again in {left} s\n"
        return Response(429, PLAIN, body.encode(), (("Retry-After", left),))

    def _pass_on(self, notice: Notice) -> Response:
        names = [name for name in self._peers.present() if name.slot != LAUNCHER]
        line = json.dumps({"notice": plain(notice)}).encode() + b"\n"
        reports = [parse(answer) for answer in self._peers.ask(names, line).values()]
        took = [each for each in reports if each is not None and each.notice == notice.id]
        sessions = sum(_given_to(report) for report in took)
        if notice.kind == TELL:
            say(f"notice {notice.id} to {sessions} sessions in {len(took)} workers: {notice.text}")
        result: dict[str, Any] = {"workers": len(names), "took": len(took), "sessions": sessions}
        return Response(200, JSON, f"{json.dumps(result)}\n".encode())


def _given_to(report: Report) -> int:
    """Return the sessions that were connected when the worker took the notice."""
    if report.notice_sessions is not None:
        return report.notice_sessions
    return sum(app.connected for app in report.apps.values())
