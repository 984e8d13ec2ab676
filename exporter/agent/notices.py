"""Notices in the pages of this process's sessions, and the release of pages that nobody uses.

The agent's thread takes notices; all else runs in the loop of the sessions. An answer concerns the
session over whose WebSocket it arrives, whatever it says.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from . import hinting
from .census import Mark, is_blocked, is_library_app, mark_of, members
from .notice import ASK, CLOSE, LEAVING, Notice
from .question import GRACE_SECONDS, SHOW_AGAIN_SECONDS, Question
from .showing import Shown, following
from .tally import Tally
from .thread_errors import ThreadErrors
from .use import touched_by
from .visits import snapshot

STEP_SECONDS = 1.0
LOADED_SECONDS = 5.0  # from the start of a connection until its page can say that it is closed
# Between two pages that get the bar. For a page with eight plots that takes 17 ms, in which the
# loop serves nobody.
SPREAD_SECONDS = 0.02
SHOWN_SECONDS = 10.0  # in which an announcement reaches the pages, even if nothing is left of it
CLOSED = 1000
UNUSED, ALLOWED = "released: nobody used the page", "released: the app lets the page be closed"
RELEASED = "bokeh_sessions_released_total"


class Notices:
    """The notices of one process. contexts: all of its applications."""

    def __init__(self, contexts: Iterable[Any], tally: Tally) -> None:
        self._contexts = contexts
        self._tally = tally
        self._told: tuple[Notice, float, float] | None = None  # until when, and shown how long
        self._turning: set[Any] = set()
        self._complaints = ThreadErrors("the agent")
        self.taken: str | None = None

    # Called by the agent's thread ----------------------------------------------------------------

    def take(self, notice: Notice, loops: Iterable[Any]) -> None:
        """Show a notice to the users of these loops. An announcement replaces the last one."""
        self.taken = notice.id
        if notice.kind == CLOSE:
            self.close_allowed(loops, notice)
            return
        if notice.kind != ASK:
            now = time.monotonic()
            self._told = notice, now + notice.seconds, now + max(notice.seconds, SHOWN_SECONDS)
        _in_each(loops, self._begin, notice)

    def close_allowed(self, loops: Iterable[Any], notice: Notice = LEAVING) -> None:
        """Close the pages of which their application has said that they may be closed."""
        if any(hints.may_close for _, hints in hinting.hinted()):
            _in_each(loops, self._close_allowed, notice)

    # In the loop ---------------------------------------------------------------------------------

    def is_answer(self, message: Any, session: Any) -> bool:
        """Return whether a message only says what a page does about a notice."""
        mark = mark_of(session)
        if mark is None or not mark.notices:
            return False
        own = {each for shown in mark.notices.values() for each in shown.bar.answer_ids}
        touched = touched_by(message)
        return bool(touched) and own.issuperset(touched)

    @staticmethod
    def is_late(message: Any, session: Any) -> bool:
        """Return whether the application has removed the root to which an answer belongs.

        Bokeh would log an error. The page answers again when it is shown the notice again.
        """
        document = None if session.destroyed else session.document
        return document is not None and any(
            document.get_model_by_id(each) is None for each in touched_by(message)
        )

    def heard(self, session: Any) -> None:
        """Act on the answer of a page."""
        mark = mark_of(session)
        for shown in () if mark is None else mark.notices.values():
            word, number = shown.bar.heard()
            if shown.seen or not shown.first < number <= shown.number:
                continue
            if shown.question is None:
                shown.closed = word == "seen"
            else:
                self._answered(session, shown, word, number)

    def _answered(self, session: Any, shown: Shown, word: str, number: int) -> None:
        if word == "stay":
            self.used(session)
        elif word == "shown" and shown.question is not None:
            if shown.question.is_prompt(time.monotonic()):
                shown.question.confirm(number)
            shown.confirmed()
        elif word == "silent" and shown.is_over(time.monotonic(), number):
            self._do(shown, self._release(session, shown, number))

    def used(self, session: Any) -> None:
        """Record that the user of a session did something, which answers a question too."""
        mark = mark_of(session)
        if mark is None:
            return
        mark.used = time.monotonic()
        for shown in mark.notices.values():
            if shown.question is not None and not shown.seen:
                shown.question.answered = True
                self._do(shown, self._clear(session, shown))

    def _begin(self, loop: Any, notice: Notice) -> None:
        if notice.kind == ASK:
            self._ask(loop, notice)
        if loop not in self._turning:
            self._turning.add(loop)
            self._turn(loop)

    def _ask(self, loop: Any, notice: Notice) -> None:
        """Ask the pages that nobody has used for long enough, unless they are being asked."""
        now = time.monotonic()
        for session, mark in self._sessions(loop):
            last = mark.notices.get(ASK)
            if last is not None and last.question is not None and not last.seen:
                if last.notice.says_what(notice):
                    last.question.repeat(now, notice.lasts)
            elif _is_unused(session, mark, notice.idle_for, now):
                shown = following(last, notice, now)
                shown.question = Question(notice.seconds, shown.number, shown.number)
                shown.question.repeat(now, notice.lasts)
                mark.notices[ASK] = shown

    def _close_allowed(self, loop: Any, notice: Notice) -> None:
        now = time.monotonic()
        for session, mark in self._sessions(loop):
            is_young = now - mark.created < notice.older_than or now - mark.opened < LOADED_SECONDS
            # A session that was closed may have its connection until its page has heard of it.
            if is_young or session.expiration_requested or not hinting.may_be_closed(session):
                continue
            shown = mark.notices.get(CLOSE)
            if shown is None or not shown.busy:
                shown = following(shown, notice, now)
                shown.closed = True
                mark.notices[CLOSE] = shown
                self._do(shown, self._close_page(session, mark, shown))

    def _turn(self, loop: Any) -> None:
        """Show what is due, and come back as long as there is something to show."""
        try:
            active = self._show_due(loop)
        except Exception as error:  # the application's loop must run on
            self._complaints.tell(error)
            active = True
        if active:
            loop.call_later(STEP_SECONDS, self._turn, loop)
        else:
            self._turning.discard(loop)

    def _show_due(self, loop: Any) -> bool:
        now = time.monotonic()
        told = self._told if self._told is not None and now < self._told[2] else None
        asking, wait = False, 0.0
        for session, mark in self._sessions(loop):
            if told is not None:
                self._tell(mark, *told[:2])
            for shown in mark.notices.values():
                self._withdraw(session, shown, now)
                asking = asking or (shown.question is not None and not shown.seen)
                if session.connection_count and shown.is_due(session, now):
                    wait += SPREAD_SECONDS * (shown.number == shown.first)
                    shown.due = now + wait + SHOW_AGAIN_SECONDS
                    self._do(shown, self._show(session, shown, wait))
        return asking or told is not None

    def _withdraw(self, session: Any, shown: Shown, now: float) -> None:
        """Hide a question that nobody repeats. It is neither answered nor over."""
        question = shown.question
        if question is not None and not shown.seen and not shown.busy and question.is_lapsed(now):
            shown.closed = True
            self._do(shown, self._clear(session, shown))

    @staticmethod
    def _tell(mark: Mark, notice: Notice, until: float) -> None:
        last = mark.notices.get(notice.kind)
        if last is None or last.notice is not notice:
            mark.notices[notice.kind] = following(last, notice, until)

    def _sessions(self, loop: Any) -> list[tuple[Any, Mark]]:
        """Return the sessions of this process that live in a loop.

        Those without a connection too: a page that comes back shows what it had shown before.
        """
        found = []
        for context in members(self._contexts):
            if is_library_app(context):
                continue
            for _, session in snapshot(context._sessions):
                mark = mark_of(session)
                if mark is None or mark.loop is not loop or mark.process != os.getpid():
                    continue
                if not session.destroyed:
                    found.append((session, mark))
        return found

    def _do(self, shown: Shown, work: Any) -> None:
        """Run a coroutine, whose error is reported and disturbs nobody."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._complaints.tell(error)
            finally:
                shown.busy = False

        shown.busy = True
        task = asyncio.ensure_future(guarded())
        shown.tasks.add(task)  # the loop alone keeps no task alive
        task.add_done_callback(shown.tasks.discard)

    # With the document of a session locked -------------------------------------------------------

    async def _show(self, session: Any, shown: Shown, wait: float) -> None:
        """Show a notice. The sources arrive first: a page shows only what changes in them."""
        await asyncio.sleep(wait)
        if await _locked(session, shown.bar.hang):
            await _locked(session, lambda _: self._show_now(session, shown))

    def _show_now(self, session: Any, shown: Shown) -> None:
        if shown.seen:
            return
        now, question = time.monotonic(), shown.question
        connections = set(session._subscribed_connections)
        if question is not None and connections != shown.connections:
            question.begin_anew()
        shown.connections = connections
        shown.pauses(now)
        left = shown.until - now if question is None else question.next_showing(now)
        shown.number += 1
        self._say(shown, shown.notice.kind, left=max(0.0, left))

    @staticmethod
    def _say(shown: Shown, kind: str, **more: Any) -> None:
        notice = shown.notice
        shown.bar.show(
            kind=kind,
            number=shown.number,
            first=shown.first,
            **{"text": notice.text, "button": notice.button, **more},
        )

    async def _clear(self, session: Any, shown: Shown) -> None:
        shown.number += 1
        if await _locked(session, shown.bar.hang):
            await _locked(session, lambda _: self._say(shown, "nothing", left=0.0))

    async def _release(self, session: Any, shown: Shown, number: int) -> None:
        """Close a page whose user has not answered, and say so in it.

        An answer may have been lost with a connection that broke since, so a page that has another
        one now is not closed.
        """
        mark, connections = mark_of(session), shown.connections
        await asyncio.sleep(GRACE_SECONDS)
        if mark is None or not await _locked(session, shown.bar.hang):
            return
        if await _locked(session, lambda _: self._may_release(session, shown, number, connections)):
            await self._end(session, mark, UNUSED)

    async def _end(self, session: Any, mark: Mark, reason: str) -> None:
        session.request_expiration()
        for connection in members(session._subscribed_connections):
            await _close(connection._socket, reason)
        self._tally.add(RELEASED, mark.app)

    async def _close_page(self, session: Any, mark: Mark, shown: Shown) -> None:
        """Close a page that its application lets be closed, and say so in it."""
        if not await _locked(session, shown.bar.hang):
            return
        if await _locked(session, lambda _: self._may_close(session, shown)):
            await self._end(session, mark, ALLOWED)

    def _may_close(self, session: Any, shown: Shown) -> bool:
        """Say in the page that it is closed, unless there is work in it. Returns whether it is."""
        if not hinting.may_be_closed(session) or is_blocked(session, locks=1):
            return False
        if not shown.bar.hangs_in(session.document):
            return False
        shown.number += 1
        words = {"text": shown.notice.text, "button": shown.notice.reload}
        self._say(shown, "released", left=0.0, **words)
        return True

    def _may_release(self, session: Any, shown: Shown, number: int, connections: set[Any]) -> bool:
        """Say in the page that it is closed, or that it stays. Returns whether it may be closed.

        With the document locked, no message that has arrived before is still waiting.
        """
        if not shown.is_over(time.monotonic(), number) or not shown.bar.hangs_in(session.document):
            return False
        shown.closed = True
        shown.number += 1
        if not _is_alone(session, locks=1) or session._subscribed_connections != connections:
            self._say(shown, "nothing", left=0.0)
            return False
        words = {"text": shown.notice.closed, "button": shown.notice.reload}
        self._say(shown, "released", left=0.0, **words)
        return True


def _in_each(loops: Iterable[Any], what: Callable[..., None], notice: Notice) -> None:
    for loop in loops:
        with suppress(RuntimeError):  # it has just been closed
            loop.call_soon_threadsafe(what, loop, notice)


async def _close(carrier: Any, reason: str) -> None:
    """Close a WebSocket; that of bokeh-fastapi is inside of another object."""
    socket = carrier if hasattr(carrier, "close") else carrier._socket
    closing = socket.close(CLOSED, reason)
    if inspect.isawaitable(closing):
        await closing


def _is_unused(session: Any, mark: Mark, idle_for: float, now: float) -> bool:
    return now - mark.used >= idle_for and _is_alone(session)


def _is_alone(session: Any, locks: int = 0) -> bool:
    """Return whether one page uses the session, and no work of the application does.

    locks: how often the agent itself has locked the document now.
    """
    return session.connection_count == 1 and not is_blocked(session, locks)


async def _locked(session: Any, what: Callable[[Any], Any]) -> Any:
    """Call a function with the session's document, locked; returns None once it is destroyed."""
    if session.destroyed:
        return None
    return await session.with_document_locked(lambda: what(session.document))
