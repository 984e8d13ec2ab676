"""The messages between a page and its session: timed, and told apart by who caused them."""

from __future__ import annotations

import time
from typing import Any

from . import process
from .census import is_library_app, mark_of, route_of
from .use import is_use


async def handle(original: Any, self: Any, message: Any, connection: Any) -> Any:
    """Time one message. This takes 2 us; Bokeh takes a millisecond for the smallest message."""
    if is_library_app(connection.application_context):
        return await original(self, message, connection)
    agent, app, began = process.worker(), route_of(connection.application_context), time.monotonic()
    agent.active(app)
    answers = agent.notices.is_answer(message, connection.session)
    mark = mark_of(connection.session)
    if mark is not None and not answers and is_use(message, began - mark.changed):
        agent.notices.used(connection.session)
    if answers and agent.notices.is_late(message, connection.session):
        return connection.ok(message)
    reply = await original(self, message, connection)
    if answers:
        agent.notices.heard(connection.session)
    agent.tally.observe("bokeh_message_duration_seconds", app, seconds=time.monotonic() - began)
    if getattr(reply, "msgtype", "") == "ERROR":  # a callback raised, which Bokeh only logs
        agent.tally.add("bokeh_message_errors_total", app)
    return reply


def document_patched(original: Any, self: Any, event: Any) -> None:
    """Note that the application, and not the page, has changed the document."""
    mark = mark_of(self)
    if mark is not None and event.setter is not self:
        mark.changed = time.monotonic()
    original(self, event)
