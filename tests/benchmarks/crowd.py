"""A crowd of users of one server, each of whom knows which session is theirs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TypeVar

from tests.lab.websocket_user import User, Users, token_in

AT_ONCE = 8
T = TypeVar("T")

# Each session has a mark of its own, with the process that it is in.
APP = """
import os, uuid
from bokeh.io import curdoc
from bokeh.models import Div

curdoc().add_root(Div(text=f"mark-{uuid.uuid4().hex}-{os.getpid()}-"))
"""
MARK = re.compile(r"mark-([0-9a-f]{32})-(\d+)-")


@dataclass
class Member:
    """One page: the session it had first, its process, and the seconds until its document came."""

    jar: SimpleCookie
    token: str
    user: User
    seconds: float
    session: str = ""
    process: int = 0


@dataclass
class Crowd:
    """users: by whom all of them act, in one event loop."""

    users: Users
    url: str
    members: list[Member] = field(default_factory=list)

    def come(self, count: int, at_once: int = AT_ONCE) -> None:
        """Open pages, so many at a time."""
        with ThreadPoolExecutor(at_once) as pool:
            self.members += pool.map(lambda _: self._join(), range(count))

    def _join(self) -> Member:
        jar = SimpleCookie()
        token = token_in(self.users.get(self.url, jar=jar))
        began = time.perf_counter()
        user = self.users.connect(self.url, token, jar=jar)
        return Member(jar, token, user, time.perf_counter() - began)

    def look(self) -> None:
        """Have all remember which session they are in."""
        for member, (session, process) in zip(
            self.members, self.each(self._where, self.members), strict=True
        ):
            member.session, member.process = session, process

    def leave(self, members: Sequence[Member]) -> None:
        self.each(lambda member: self.users.leave(member.user), members)

    def come_back(self, members: Sequence[Member]) -> int:
        """Reconnect; how many found the session that they remember."""
        return sum(self.each(self._finds_it, members))

    def _finds_it(self, member: Member) -> bool:
        member.user = self.users.connect(self.url, member.token, jar=member.jar)
        return self._where(member)[0] == member.session

    def _where(self, member: Member) -> tuple[str, int]:
        found = MARK.search(json.dumps(self.users.document(member.user)))
        return (found[1], int(found[2])) if found else ("", 0)

    @staticmethod
    def each(act: Callable[[Member], T], members: Sequence[Member]) -> list[T]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(act, members))
