"""Which messages of a page show that its user did something."""

from __future__ import annotations

from math import inf
from typing import Any

CHANGES = ("PATCH-DOC", "PUSH-DOC")  # sent when a user does something
# What BokehJS sends of itself when a page is loaded, or has a new connection.
OWN_KINDS = ("RootAdded", "RootRemoved")
OWN_EVENTS = ("document_ready", "connection_lost", "client_reconnected")
OWN_CHANGES = ("_rendered", "_destroyed")  # of the notifications of Panel, which disappear alone
# What BokehJS sends when the application has changed something: ranges that follow new data, and
# plots that get another size.
FOLLOWING = ("start", "end", "inner_width", "inner_height", "outer_width", "outer_height")
FOLLOWS_SECONDS = 2.0


def is_use(message: Any, since_change: float = inf) -> bool:
    """Return whether a message is more than what BokehJS sends without its user.

    since_change: seconds since the application has changed the document.
    """
    if message.msgtype not in CHANGES:
        return False
    events = events_of(message)
    own = OWN_CHANGES if since_change > FOLLOWS_SECONDS else OWN_CHANGES + FOLLOWING
    return not events or not all(_is_own(event, own) for event in events)


def events_of(message: Any) -> list[Any]:
    """Return the changes in a message; none if it has no list of them."""
    content = message.content
    events = content.get("events") if isinstance(content, dict) else None
    return events if isinstance(events, list) else []


def touched_by(message: Any) -> list[str]:
    """Return the IDs of the models that a message changes; none if it is about other things too."""
    if message.msgtype != "PATCH-DOC":
        return []
    try:
        return [str(event["model"]["id"]) for event in events_of(message)]
    except (LookupError, TypeError):  # for example an event of the document
        return []


def _is_own(event: Any, own_changes: tuple[str, ...]) -> bool:
    if not isinstance(event, dict):
        return False
    if event.get("kind") == "ModelChanged":
        return event.get("attr") in own_changes
    said = event.get("msg_data")
    name = said.get("name") if isinstance(said, dict) else None
    return event.get("kind") in OWN_KINDS or (
        event.get("kind") == "MessageSent" and name in OWN_EVENTS
    )
