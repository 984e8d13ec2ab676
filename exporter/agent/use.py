"""Which messages of a page show that its user did something."""

from __future__ import annotations

from typing import Any

CHANGES = ("PATCH-DOC", "PUSH-DOC")  # sent when a user does something
# What BokehJS sends of itself when a page is loaded, or has a new connection.
OWN_KINDS = ("RootAdded", "RootRemoved")
OWN_EVENTS = ("document_ready", "connection_lost", "client_reconnected")


def is_use(message: Any) -> bool:
    """Return whether a message is more than what BokehJS sends when a page has a new connection."""
    if message.msgtype not in CHANGES:
        return False
    events = events_of(message)
    return not events or not all(map(_is_own, events))


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


def _is_own(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    said = event.get("msg_data")
    name = said.get("name") if isinstance(said, dict) else None
    return event.get("kind") in OWN_KINDS or (
        event.get("kind") == "MessageSent" and name in OWN_EVENTS
    )
