"""A browser before a proxy: its cookies, and what time does to them."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from tests.lab.websocket_user import User, Users, token_in

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


@dataclass
class Browser:
    """One tab at a time. `token` is its page's, by which the page reconnects."""

    users: Users
    url: str
    jar: SimpleCookie = field(default_factory=SimpleCookie)
    token: str = ""

    def load(self) -> None:
        """Get the page alone: the session is made, and waits for its WebSocket."""
        self.token = token_in(self.users.get(self.url, jar=self.jar))

    def connect(self) -> User:
        """The page's WebSocket, at first and whenever it reconnects."""
        parts = urlsplit(self.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        return self.users.connect(self.url, self.token, origin, jar=self.jar)

    def open(self) -> User:
        self.load()
        return self.connect()

    def age(self, seconds: float) -> None:
        """Let time go by: cookies end, and HAProxy's say themselves when they were given."""
        for name, cookie in list(self.jar.items()):
            left = float(cookie["max-age"] or "inf") - seconds
            if left <= 0:
                del self.jar[name]
            elif left < float("inf"):
                cookie["max-age"] = str(left)
        name, *dates = self.jar["sticky_pod"].value.split("|")
        value = "|".join([name, *(moved(each, -seconds) for each in dates)])
        self.jar["sticky_pod"].set("sticky_pod", value, value)  # a jar would quote the / of a date


def moved(date: str, seconds: float) -> str:
    """A date of HAProxy's, moved: 30 bits of the Unix time in steps of 4 s, in base64."""
    value = 0
    for digit in date:
        value = value * 64 + DIGITS.index(digit)
    value += int(seconds // 4)
    return "".join(DIGITS[value >> shift & 63] for shift in range(24, -1, -6))
