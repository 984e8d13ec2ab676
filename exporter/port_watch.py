"""Compare the agents' sockets with the kernel's table, to find connections that no agent sees.

An idle keep-alive connection of a watched process is not a user, because the agent knows every
session. Every other connection of a served port may be one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from exporter.console import say
from exporter.estimate import (
    Ends,
    Sockets,
    opened_by,
    read_sockets,
    served_places,
    served_ports,
    unwatched,
)
from exporter.ledger import Collected
from exporter.wire import holders

GONE_AFTER_SECONDS = 30.0
TELL_AFTER_SECONDS = 30.0  # an app may take long to import before its agent answers
MOST_TOLD = 20  # lines; helper processes may use a new port again and again


@dataclass(frozen=True, slots=True)
class PortView:
    """The served ports at one moment.

    open: whether any of them listens. watched: whether agents see all of their connections.
    unwatched: established connections that belong to no watched process. left_s: seconds since one
    of those or a delivery ended, None if none ever did. delivering: connections whose client is
    still receiving bytes from the kernel.
    """

    ports: tuple[int, ...] = ()
    open: bool = False
    watched: bool = True
    unwatched: int = 0
    left_s: float | None = None
    delivering: int = 0


class Deliveries:
    """Responses that a server has written completely and a slow client has not received yet.

    The kernel delivers them even after the server has closed the connection, as long as the pod
    exists. A client that receives nothing for half a minute counts as gone. ended_at: when the last
    delivery to another client was found to have ended, None if none ever did.
    """

    def __init__(self) -> None:
        self._seen: dict[Ends, tuple[int, float]] = {}
        self._under_way: frozenset[Ends] = frozenset()
        self.ended_at: float | None = None

    def count(self, unacknowledged: Mapping[Ends, int], now: float) -> int:
        """Return how many connections make progress. now: in seconds of the monotonic clock."""
        if self._under_way - set(unacknowledged):
            self.ended_at = now
        self._seen = {
            ends: self._progress(ends, left, now) for ends, left in unacknowledged.items()
        }
        self._under_way = frozenset(
            ends for ends, (_, at) in self._seen.items() if now - at < GONE_AFTER_SECONDS
        )
        return len(self._under_way)

    def _progress(self, ends: Ends, left: int, now: float) -> tuple[int, float]:
        """Return the remaining bytes, and the time at which they last decreased.

        An increase is not progress, because it may be a ping to a silent client.
        """
        before, at = self._seen.get(ends, (left, now))
        return left, now if left < before else at


class PortWatch:
    """Watches the served ports. given: the port that the operator set, or None."""

    def __init__(self, given: int | None) -> None:
        self._given = given
        self._places: frozenset[str] = frozenset()  # all ever served: one may close before the end
        self._by_agents = False
        self._aside: frozenset[str] = frozenset()  # those of ports without an agent beside others
        self._own: frozenset[int] = frozenset()  # sockets of the launcher's descendants
        self._unwatched: frozenset[Ends] = frozenset()
        self._left_at: float | None = None
        self._bare_since: dict[str, float] = {}
        self._told: set[str] = set()
        self._deliveries = Deliveries()

    def look(self, before: Sockets, collected: Collected) -> PortView:
        """Compare now. before: the kernel's table as read before the agents were asked."""
        reports = collected.reports
        theirs = {number for report in reports for number in report.sockets or ()}
        ports = served_ports(before, self._given, theirs, collected.launcher_ports)
        known = any(before.listening[port] & theirs for port in ports)
        self._remember(served_places(before, ports, theirs), by_agents=known)
        self._forget_closed(before, ports, theirs)
        watched = {n for r in reports if r.watching is not False for n in r.sockets or ()}
        # A second reading takes 15 ms where the kernel has no netlink (see kernel_tables).
        in_doubt = collected.workers and unwatched(before, before, self._places, watched)
        # It is also needed if no user is known: one may have connected after the first reading.
        empty = not holders(reports, collected.silent, 0, 0)
        after = read_sockets() if in_doubt or empty else before
        strangers = unwatched(before, after, self._places, watched)
        strangers -= self._between_own(before, collected, theirs)
        if _waits_for_known(collected):  # its new connections look like those without an agent
            strangers &= self._unwatched
        now = time.monotonic()
        if self._unwatched - set(after.connections):
            self._left_at = now
        self._unwatched = strangers
        self._tell(before, ports, collected, now)
        delivering = self._deliveries.count(after.delivering(self._places), now)
        ends = [at for at in (self._left_at, self._deliveries.ended_at) if at is not None]
        listeners = [before.listening[port] for port in ports]
        return PortView(
            ports=ports,
            open=bool(ports),
            watched=_all_watched(collected, listeners, watched),
            unwatched=max(0, len(strangers) - _counted_by_agents(before, collected)),
            left_s=now - max(ends) if ends else None,
            delivering=delivering,
        )

    def _remember(self, places: frozenset[str], *, by_agents: bool) -> None:
        """Add these places; those reported by agents replace those guessed before."""
        if by_agents and not self._by_agents:
            self._by_agents, self._places = True, frozenset()
        self._places |= places

    def _forget_closed(
        self, seen: Sockets, ports: tuple[int, ...], of_workers: Collection[int]
    ) -> None:
        """Drop places of helper processes that neither listen nor have a connection any more.

        The kernel may give the number of such a port to a connection that the app opens.
        """
        bare = [port for port in ports if seen.listening[port].isdisjoint(of_workers)]
        if self._by_agents and self._given not in ports:
            self._aside |= served_places(seen, bare, of_workers)
        open_now = set(seen.bound.values())
        closed = frozenset(
            place
            for place in self._aside - open_now
            if not any(local.endswith(place) for local, _ in self._unwatched)
        )
        self._places -= closed
        self._aside -= closed

    def _between_own(
        self, seen: Sockets, collected: Collected, of_workers: Collection[int]
    ) -> frozenset[Ends]:
        """Return the connections between the app's own processes, such as those of Dask.

        Where the operator named the port, the clients of its connections may be a proxy that the
        launcher started, so each of them counts.
        """
        if collected.launcher_sockets is not None:
            self._own = frozenset(collected.launcher_sockets)
        if self._given in seen.listening:
            return frozenset()
        return opened_by(seen, self._own | set(of_workers))

    def _tell(
        self, seen: Sockets, ports: tuple[int, ...], collected: Collected, now: float
    ) -> None:
        """Write a line to stderr for each fault that has lasted half a minute, once."""
        wrong = set(_wrong(seen, self._given, ports, collected))
        self._bare_since = {what: self._bare_since.get(what, now) for what in wrong}
        for what, since in self._bare_since.items():
            new = what not in self._told and len(self._told) < MOST_TOLD
            if new and now - since >= TELL_AFTER_SECONDS:
                self._told.add(what)
                say(what)


def _waits_for_known(collected: Collected) -> bool:
    """Return whether a worker that has reported its sockets before does not answer now.

    Such a worker keeps its last count and does not count as empty.
    """
    views = collected.workers
    return any(not view.ok for view in views) and all(view.report is not None for view in views)


def _all_watched(
    collected: Collected, listeners: list[frozenset[int]], watched: Collection[int]
) -> bool:
    """Return whether agents see all connections; old agents do not report their sockets."""
    if not collected.workers:
        return False
    if any(report.sockets is None for report in collected.reports):
        return all(report.watching is not False for report in collected.reports)
    return not any(numbers.isdisjoint(watched) for numbers in listeners)


def _counted_by_agents(seen: Sockets, collected: Collected) -> int:
    """Return how many unwatched connections may be WebSockets that agents already count.

    These are the WebSockets of agents of older versions, which do not report their sockets; of a
    server that the agent does not know; and of a server on a unix socket behind a proxy that has
    the port.
    """
    tcp = {number for numbers in seen.listening.values() for number in numbers}
    theirs = (
        report
        for report in collected.reports
        if report.sockets is None or report.watching is False or report.sockets.isdisjoint(tcp)
    )
    return sum(app.live + app.stale for report in theirs for app in report.apps.values())


def _wrong(
    seen: Sockets, given: int | None, ports: tuple[int, ...], collected: Collected
) -> list[str]:
    reports = collected.reports
    theirs = {number for report in reports for number in report.sockets or ()}
    blind = {n for r in reports if r.watching is False for n in r.sockets or ()}
    found = []
    if given and ports and given not in ports:
        listed = ", ".join(map(str, ports))
        found.append(
            f"no process listens on port {given} of --app-port; set it to a port of the app: "
            f"{listed}"
        )
    if any(report.sockets is None for report in reports):
        return found
    for port in ports:
        if seen.listening[port].isdisjoint(theirs):
            found.append(NO_AGENT.format(port))
        elif seen.listening[port] & theirs <= blind:
            found.append(UNKNOWN_SERVER.format(port))
    return found


NO_AGENT = (
    "the server on port {} has no agent, so its connections are counted instead of its sessions; "
    "start it with `bokeh-exporter launch --`, add to PYTHONPATH instead of replacing it, "
    "remove any other sitecustomize from it, and run Python without -E, -I and -S; if it serves no "
    "users, name the port of the app with --app-port"
)
UNKNOWN_SERVER = (
    "the agent does not see the sessions of the server on port {}, so its connections are counted; "
    "serve the applications with Bokeh or Panel"
)
