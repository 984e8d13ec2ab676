"""The kernel's tables: served ports, and the connections that belong to no watched process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.estimate import (
    Sockets,
    network_bytes,
    served_places,
    served_ports,
    sockets_of,
    unwatched,
)
from exporter.kernel_tables import PROC_NET, Row, by_netlink, printed
from tests.lab.bokeh_servers import wait_until

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:138E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:138E 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:D431 0100007F:138E 01 00000000:00000000 00:00000000 00000000     0        0 3
   3: 0100007F:138E 0100007F:D432 06 00000000:00000000 00:00000000 00000000     0        0 0
   4: 0100007F:138E 0100007F:D433 01 00000000:00000000 00:00000000 00000000     0        0 0
   5: cut short
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx rx tr inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:9C40 01 0:0 0:0 0 0 0 4
"""
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: 9999       1    0    0    0     0          0         0     9999       1    0    0
  eth0: 1000      10    0    0    0     0          0         0     2000      20    0    0
  eth1:   50       1    0    0    0     0          0         0        7       1    0    0
"""


def test_listening_and_established_sockets_are_read_with_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "tcp6").write_text(TCP6)
    seen = sockets_of(printed(tmp_path))
    assert seen.listening == {5006: {1}, 8080: {9}}
    assert set(seen.at([":138E"]).values()) == {2, 0}  # 0 waits to be accepted
    assert list(seen.at([":1F90"]).values()) == [4]
    assert list(seen.at([":D431"]).values()) == [3]


def test_a_kernel_without_ipv6_has_no_such_table(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert len(sockets_of(printed(tmp_path)).at([":138E"])) == 2


def by_text() -> Iterable[Row]:
    return printed(PROC_NET)


@pytest.mark.parametrize("rows", [by_netlink, by_text])
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_real_connection_is_seen_at_the_servers_end(
    family: socket.AddressFamily, address: str, rows: Callable[[], Iterable[Row]]
) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        seen, number = sockets_of(rows()), os.fstat(listener.fileno()).st_ino
        assert seen.listening[port] == {number}
        place = seen.bound[number]
        assert place.endswith(f":{port:04X}")
        assert place != f":{port:04X}"
        assert sockets_of(rows()).at([place]) == {}

        def numbers() -> list[int]:
            return list(sockets_of(rows()).at([place]).values())

        with socket.create_connection((address, port)):
            # A busy kernel opens the server's end a moment after the client's.
            wait_until(lambda: numbers() == [0], "the connection")
            accepted = listener.accept()[0]
            assert numbers() == [os.fstat(accepted.fileno()).st_ino]
            accepted.close()


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")]
)
def test_netlink_tells_of_a_client_that_reads_nothing_what_the_text_tells(
    family: socket.AddressFamily, address: str
) -> None:
    dual = family == socket.AF_INET6
    with socket.create_server((address, 0), family=family, dualstack_ipv6=dual) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted = listener.accept()[0]
            accepted.settimeout(0.5)  # until the kernel has delivered all that the client takes
            with accepted:
                with suppress(TimeoutError):
                    while accepted.send(bytes(1 << 20)):
                        pass
                assert about(port, by_netlink()) == about(port, by_text())
            told = about(port, by_netlink())
            assert told == about(port, by_text())
            assert FIN_WAIT1 in {row.state for row in told if row.unacknowledged}


FIN_WAIT1 = 0x04


def about(port: int, rows: Iterable[Row]) -> set[Row]:
    """Return the rows of a port, and whether bytes are unacknowledged: how many may change."""
    ends = f":{port:04X}"
    ours = (row for row in rows if row.local.endswith(ends) or row.remote.endswith(ends))
    return {row._replace(unacknowledged=bool(row.unacknowledged)) for row in ours}


LISTENING = Sockets({5006: frozenset({1}), 8080: frozenset({2}), 6379: frozenset({3})})


@pytest.mark.parametrize(
    ("given", "of_workers", "below", "ports"),
    [
        pytest.param(8080, {1}, (6379,), (8080,), id="the one that the operator names"),
        pytest.param(None, {2, 70}, (8080,), (8080,), id="that of a process with an agent"),
        pytest.param(None, {2}, (6379, 9), (6379, 8080), id="one without an agent beside it"),
        pytest.param(None, {1, 2}, None, (5006, 8080), id="all of processes with an agent"),
        pytest.param(None, {70}, (6379, 9), (6379,), id="those below the launcher"),
        pytest.param(
            9, {2}, (8080,), (8080,), id="the real one where nothing listens on the named"
        ),
        pytest.param(None, set(), None, (5006,), id="Bokeh's own where nobody knows"),
        pytest.param(
            9, set(), None, (), id="none where nothing listens on the named and nobody knows"
        ),
        pytest.param(None, set(), (), (), id="none where the launcher knows that nothing listens"),
    ],
)
def test_the_served_port_is(
    given: int | None, of_workers: set[int], below: tuple[int, ...] | None, ports: tuple[int, ...]
) -> None:
    assert served_ports(LISTENING, given, of_workers, below) == ports


HERE, THERE = "0100007F:138E", "0200007F:138E"


@pytest.mark.parametrize(
    ("bound", "of_workers", "places"),
    [
        pytest.param({1: HERE, 2: THERE}, {1}, {HERE}, id="where the worker listens"),
        pytest.param({1: HERE, 2: ":138E"}, {1, 2}, {HERE, ":138E"}, id="all of the workers'"),
        pytest.param({1: HERE, 2: THERE}, {70}, {HERE, THERE}, id="all, without a worker"),
    ],
)
def test_users_come_to(bound: dict[int, str], of_workers: set[int], places: set[str]) -> None:
    seen = Sockets({5006: frozenset(bound)}, bound=bound)
    assert served_places(seen, [5006], of_workers) == places


def test_a_connection_to_the_same_port_of_another_address_is_nobody() -> None:
    seen = Sockets(connections={(THERE, "0100007F:D431"): 8})
    assert unwatched(seen, seen, places=[HERE], watched=[]) == set()


ONE, TWO = ("0100007F:138E", "0100007F:D431"), ("0100007F:138E", "0100007F:D432")
ELSEWHERE = ("0100007F:1F90", "0100007F:D433")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param({ONE: 7}, {ONE: 7}, set(), id="of a watched process: nobody"),
        pytest.param({ONE: 8}, {ONE: 8}, {ONE}, id="of another process: somebody"),
        pytest.param({ONE: 0}, {ONE: 0}, {ONE}, id="waits to be accepted: somebody"),
        pytest.param({ELSEWHERE: 8}, {ELSEWHERE: 8}, set(), id="of another port: nobody"),
        pytest.param({}, {ONE: 8}, set(), id="came just now: in doubt"),
        pytest.param({ONE: 0}, {ONE: 8}, set(), id="was accepted just now: in doubt"),
        pytest.param({ONE: 8}, {}, set(), id="is gone"),
        pytest.param({ONE: 8, TWO: 7}, {ONE: 8, TWO: 7}, {ONE}, id="one of two"),
    ],
)
def test_a_connection(
    before: dict[tuple[str, str], int],
    after: dict[tuple[str, str], int],
    found: set[tuple[str, str]],
) -> None:
    tables = (Sockets(connections=before), Sockets(connections=after))
    assert unwatched(*tables, places=[":138E"], watched={7}) == found


def test_network_bytes_leave_the_loopback_out(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(DEV)
    assert network_bytes(tmp_path) == (1050, 2007)
