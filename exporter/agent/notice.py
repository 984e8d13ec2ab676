"""What a notice says, and to whom.

`tell`: to all users. `ask`: on pages that nobody uses. `close`: on pages that are closed now,
because their application has said that they may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

TELL, ASK, CLOSE = "tell", "ask", "close"
KINDS = (TELL, ASK, CLOSE)
LONGEST_TEXT = 300  # characters
LONGEST_LABEL = 40  # characters on a button
LASTS_SECONDS = 90.0  # the daemon repeats a question every 30 s
LEAST_SECONDS = {TELL: 0.0, ASK: 10.0, CLOSE: 0.0}
MOST_SECONDS = 86_400.0
REQUIRED = ("id", "text", "seconds")
# Spaces that do not break a line, joiners, and marks of direction, which languages and emoji need.
# Python does not count them as printable. Others would turn the text around, or hide a part of it.
UNSEEN = str.maketrans("", "", "\u00a0\u202f\u200c\u200d\u200e\u200f")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice; `parsed` checks it, both in the sidecar and in the agent.

    seconds: until that which is announced, or until a page without an answer is closed. button:
    closes an announcement, or answers the question. idle_for: only pages are asked that nobody has
    used for so many seconds. lasts: a question is withdrawn unless it is given again within so
    many seconds. older_than: only sessions are closed that were created so many seconds ago.
    closed, reload: text and button of a page that was closed; of `close`, text is the former.
    """

    id: str
    text: str
    seconds: float
    kind: str = TELL
    button: str = "OK"
    idle_for: float = 0.0
    closed: str = "This page was closed because nobody used it."
    reload: str = "Reload"
    older_than: float = 0.0
    lasts: float = LASTS_SECONDS

    def says_what(self, other: Notice) -> bool:
        """Return whether another notice is the same one, given again."""
        return replace(self, id=other.id) == other


# What a page says that is closed in the drain of its server.
LEAVING = Notice("", "This server will be stopped. Load the page again to go on.", 0.0, CLOSE)


def parsed(said: object) -> Notice:
    """Return the notice in a JSON object. Raises ValueError that says what was expected."""
    if not isinstance(said, Mapping):
        raise ValueError("expected a JSON object with text and seconds")  # noqa: TRY004
    names = [each.name for each in fields(Notice)]
    unknown = [str(name)[:LONGEST_LABEL] for name in said if name not in names]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(names)}")
    kind = said.get("kind", TELL)
    if kind not in KINDS:
        raise ValueError(f"expected kind {TELL}, {ASK} or {CLOSE}")
    given = {"button": "Stay", **said} if kind == ASK else said
    wanted = dict.fromkeys(REQUIRED) | dict(given)
    return Notice(**{name: _value(name, value, kind) for name, value in wanted.items()})


def is_readable(text: str) -> bool:
    """Return whether a text is of printable characters on one line, and not only of spaces."""
    seen = text.translate(UNSEEN)
    return bool(seen.strip()) and seen.isprintable()


def plain(notice: Notice) -> dict[str, Any]:
    """Return a notice as JSON values, which `parsed` reads."""
    return asdict(notice)


def _value(name: str, value: object, kind: str) -> Any:
    if name in ("seconds", "idle_for", "older_than", "lasts"):
        return _seconds(name, value, LEAST_SECONDS[kind] if name == "seconds" else 0.0)
    longest = LONGEST_TEXT if name in ("text", "closed") else LONGEST_LABEL
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected {name}, a text that is not empty")
    if len(value) > longest or not is_readable(value):
        raise ValueError(f"expected {name} of at most {longest} printable characters on one line")
    return value


def _seconds(name: str, value: object, least: float) -> float:
    if not isinstance(value, int | float) or not least <= value <= MOST_SECONDS:  # false for NaN
        raise ValueError(f"expected {name}, a number from {least:g} to {MOST_SECONDS:g}")
    return float(value)
