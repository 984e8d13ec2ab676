"""Users of the example app who keep moving its slider, and know how often they did."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.lab.websocket_user import User
from tests.node.shipped import ANSWERED_WITHIN, Shipped

EVERY = 0.5  # seconds
AFTERWARDS = 12.0  # seconds that they go on clicking: longer than the old pods' preStop sleep
STEP = 0.1  # of the slider, from 0.1 to 10
STEPS = 100


@dataclass
class Clicker:
    """One user. clicks: those that the server has answered."""

    user: User
    slider: str
    clicks: int = 0

    @property
    def value(self) -> float:
        """Where the slider is after all clicks."""
        return round(STEP * (1 + self.clicks % STEPS), 1)


def slider(document: Any) -> dict[str, Any]:
    """The first one in a document. Raises StopIteration."""
    return next(each for each in _objects(document["roots"]) if each["name"] == "Slider")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _objects(each)
    elif isinstance(value, dict):
        if value.get("type") == "object":
            yield value
        for each in value.values():
            yield from _objects(each)


@contextmanager
def clicking(shipped: Shipped, users: list[User]) -> Iterator[list[Clicker]]:
    """They click as long as the block lasts; a click that fails ends it with that error."""
    clickers = [Clicker(user, slider(shipped.users.document(user))["id"]) for user in users]
    stop = threading.Event()
    problems: list[Exception] = []

    def click() -> None:
        while not stop.wait(EVERY) and not problems:
            for each in clickers:
                try:
                    each.clicks += 1
                    change = (each.user, each.slider, "value", each.value, ANSWERED_WITHIN)
                    shipped.users.change(*change)
                except Exception as error:
                    problems.append(error)

    thread = threading.Thread(target=click, name="clicks")
    thread.start()
    try:
        yield clickers
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]


def lost(shipped: Shipped, clickers: list[Clicker]) -> list[Clicker]:
    """Those whose session does not have their last click."""
    return [
        each
        for each in clickers
        if slider(shipped.users.document(each.user))["attributes"]["value"] != each.value
    ]
