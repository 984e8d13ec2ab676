"""Where HAProxy sends new users: `python -m tests.benchmarks.haproxy_balance [RULE...]`.

A real HAProxy with our files before four real Bokeh servers of five seats each, as shipped and by
rules that prefer the fullest server, for which each server has an agent that HAProxy asks twice a
second. Prints for each rule how many servers have users while these come and leave, and where users
land when eight come within a moment, when a server crashes whose users all come back at once, when
all are full, and while the agent of the fullest server is silent. A rule takes a minute or two.
"""

from __future__ import annotations

import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from tornado.httpclient import HTTPClientError

from tests.lab.processes import Processes, free_ports, wait_until
from tests.lab.websocket_user import User, Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import PORT, Fleet
from tests.proxies.programs import HAProxy

SEATS = 5
SERVERS = 4
LARGEST_WEIGHT = 256
ASKED_EVERY = "500ms"
BETWEEN_USERS = 0.7  # seconds: longer than it takes until the agents' answers are known
KNOWN_WITHIN = 1.2
SETTLED_WITHIN = 20.0
COMINGS_AND_GOINGS, MEAN_USERS = 60, 7
START = (4, 3, 1, 0)


class Rule(NamedTuple):
    """balance: HAProxy's algorithm. weight: what an agent answers, by sessions; None: no agents.

    options: of each server.
    """

    balance: str
    weight: Callable[[int], int] | None = None
    options: str = ""


def squares(sessions: int) -> int:
    """Rise so that the load by which leastconn compares is less on a fuller server."""
    return (sessions + 1) ** 2 if sessions < SEATS else 1


def shares(sessions: int) -> int:
    """Rise with the sessions, down to the least for a full server."""
    return LARGEST_WEIGHT * (sessions + 1) // SEATS if sessions < SEATS else 1


RULES = {
    "as shipped": Rule("leastconn"),
    "maxconn": Rule("first", options=f" maxconn {SEATS}"),
    "first": Rule("first", lambda sessions: int(sessions < SEATS)),
    "leastconn": Rule("leastconn", squares),
    "random": Rule("random(1)", shares),
}


class Agents:
    """Answer HAProxy's agent checks with the weight of each server."""

    def __init__(self, fleet: Fleet, weight: Callable[[int], int]) -> None:
        (self.port,) = free_ports(1)
        self._fleet, self._weight = fleet, weight
        self._listeners = [socket.create_server((each, self.port)) for each in fleet.addresses]
        for number, listener in enumerate(self._listeners):
            threading.Thread(target=self._serve, args=(number, listener), daemon=True).start()

    def silence(self, number: int) -> None:
        """Let an agent answer no more."""
        with suppress(OSError):
            self._listeners[number].shutdown(socket.SHUT_RDWR)
        self._listeners[number].close()

    def close(self) -> None:
        for number in range(len(self._listeners)):
            self.silence(number)

    def _serve(self, number: int, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    weight = self._weight(sessions_of(self._fleet, number))
                    client.sendall(f"{100 * weight}%\n".encode())  # of the weight in the file, 1


def sessions_of(fleet: Fleet, number: int) -> int:
    """Count also those whose page is still loading."""
    sessions = fleet.servers[number].state()["sessions"]
    return int(sessions["connected"] + sessions["pending"] + sessions["opening"])


class Site:
    """HAProxy with a rule, before the servers, and its users."""

    def __init__(self, rule: Rule, fleet: Fleet, users: Users, folder: Path) -> None:
        self.fleet, self.guests = fleet, list[tuple[Browser, User]]()
        self._users, self._stack = users, ExitStack()
        self.proxy = HAProxy(folder, self._stack.enter_context(Processes(folder.parent)))
        self.agents = None if rule.weight is None else Agents(fleet, rule.weight)
        last = f"server b3 {fleet.addresses[2]}:{PORT}"
        changes = {last: f"{last}\n    server b4 {fleet.addresses[3]}:{PORT}"}
        changes["balance leastconn"] = f"balance {rule.balance}"
        options = rule.options
        if self.agents is not None:
            self._stack.callback(self.agents.close)
            options += f" agent-check agent-port {self.agents.port} agent-inter {ASKED_EVERY}"
        changes["check inter 2s"] = f"check inter 2s{options}"
        self.proxy.start(fleet.addresses[:3], changes)
        time.sleep(KNOWN_WITHIN)

    def close(self) -> None:
        self.clear()
        self._stack.close()

    def come(self) -> None:
        browser = Browser(self._users, self.proxy.url)
        self.guests.append((browser, browser.open()))

    def leave(self, guest: tuple[Browser, User]) -> None:
        self.guests.remove(guest)
        self._users.leave(guest[1])

    def clear(self) -> None:
        """Let everybody leave."""
        for guest in list(self.guests):
            self.leave(guest)
        self._await_sessions([0] * SERVERS)

    def fill(self, wanted: Sequence[int]) -> None:
        """Give each server so many users, in place of those who are there."""
        self.clear()
        for number, count in enumerate(wanted):
            for other in range(SERVERS):
                (self.proxy.undrain if other == number else self.proxy.drain)(other)
            time.sleep(KNOWN_WITHIN if count else 0.0)
            for _ in range(count):
                self.come()
        for number in range(SERVERS):
            self.proxy.undrain(number)
        self._await_sessions(wanted)

    def _await_sessions(self, wanted: Sequence[int]) -> None:
        def settled() -> bool:
            return [sessions_of(self.fleet, n) for n in range(SERVERS)] == list(wanted)

        wait_until(settled, SETTLED_WITHIN, f"{wanted} sessions")
        time.sleep(KNOWN_WITHIN)


def at_once(visits: Iterable[Callable[[], object]]) -> int:
    """Make visits within the same moment; how many failed."""

    def failed(visit: Callable[[], object]) -> bool:
        try:
            visit()
        except (HTTPClientError, OSError):
            return True
        return False

    listed = list(visits)
    with ThreadPoolExecutor(len(listed)) as pool:
        return sum(pool.map(failed, listed))


def coming_and_going(site: Site) -> str:
    """How many servers have users, beside the fewest that could have them all."""
    chance, used, needed = random.Random(3), list[int](), list[int]()
    for _ in range(MEAN_USERS):
        site.come()
        time.sleep(BETWEEN_USERS)
    for _ in range(COMINGS_AND_GOINGS):
        if chance.random() < MEAN_USERS / (MEAN_USERS + len(site.guests)):
            site.come()
        else:
            site.leave(chance.choice(site.guests))
        time.sleep(BETWEEN_USERS)
        connected = site.fleet.connected()
        used.append(sum(map(bool, connected)))
        needed.append(-(-sum(connected) // SEATS))
    return f"{fmean(used):.2f} (at least {fmean(needed):.2f})"


def rush(site: Site) -> str:
    site.fill(START)
    failed = at_once([site.come] * 8)
    return f"{site.fleet.connected()}, {failed} failed"


def crash(site: Site) -> str:
    """The last server, which is full, is killed, and all its users reconnect within a moment."""
    site.fill((*START[:3], SEATS))
    there, gone = site.guests[:-SEATS], site.guests[-SEATS:]
    site.fleet.stop(SERVERS - 1)
    wait_until(lambda: all(user.closed.is_set() for _, user in gone), SETTLED_WITHIN, "the crash")
    site.guests = there
    failed = at_once(
        [lambda b=browser: site.guests.append((b, b.connect())) for browser, _ in gone]
    )
    found = [server.connected() for server in site.fleet.servers[:-1]]
    site.fleet.start_stopped()
    return f"{found}, {failed} failed"


def silence(site: Site) -> str:
    """Users come one after the other."""
    if site.agents is None:
        return "-"
    site.fill(START)
    site.agents.silence(0)
    for _ in range(6):
        site.come()
        time.sleep(BETWEEN_USERS)
    return str(site.fleet.connected())


def reconnects(site: Site) -> str:
    """All servers are full, and everybody reconnects; then a new user comes."""
    site.fill([SEATS] * SERVERS)
    browsers = [browser for browser, _ in site.guests]
    created = sum(site.fleet.created())
    site.clear()
    failed = at_once([lambda b=b: site.guests.append((b, b.connect())) for b in browsers])
    built = sum(site.fleet.created()) - created
    time.sleep(KNOWN_WITHIN)
    refused = at_once([site.come])
    return f"{failed} failed, {built} new sessions; {refused} of 1 new users refused"


def reload(site: Site) -> str:
    """A user of a full server loads the page again, before the old connection is closed."""
    site.fill((SEATS, *[0] * (SERVERS - 1)))
    failed = at_once([site.guests[0][0].load])
    site.fleet.stop(0)  # with the session of the second page, which would wait for its user
    site.guests.clear()
    site.fleet.start_stopped()
    return f"{failed} failed"


SCENES: dict[str, Callable[[Site], str]] = {
    "servers with users, while these come and leave": coming_and_going,
    f"eight come at once to {list(START)}": rush,
    f"a fourth server crashes beside {list(START[:3])}": crash,
    "all servers are full and everybody reconnects": reconnects,
    "a user of a full server reloads the page": reload,
    f"six come to {list(START)}, the first agent is silent": silence,
}


def show(site: Site) -> None:
    """Print what becomes of the users in each scene."""
    try:
        for title, scene in SCENES.items():
            print(f"  {title:<54}{scene(site)}", flush=True)
    finally:
        site.close()


def main(names: Sequence[str]) -> int:
    if shutil.which("haproxy") is None:
        print("haproxy is missing: `make parts` installs it", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as base,
        Users() as users,
        Fleet(Path(base), count=SERVERS) as fleet,
    ):
        for name in names or RULES:
            folder = Path(base) / name.replace(" ", "-") / "haproxy"
            folder.mkdir(parents=True)
            print(name, flush=True)
            show(Site(RULES[name], fleet, users, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
