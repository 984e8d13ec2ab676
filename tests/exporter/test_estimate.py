"""The fallback without an agent: connections of the app's port, and the network's bytes."""

from __future__ import annotations

import socket
from pathlib import Path

from exporter.estimate import PortUse, network_bytes, port_use
from exporter.observe import Observer
from exporter.state import state
from tests.exporter.servers import free_port, wait_until

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:138E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:138E 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:D431 0100007F:138E 01 00000000:00000000 00:00000000 00000000     0        0 3
   3: 0100007F:138E 0100007F:D432 06 00000000:00000000 00:00000000 00000000     0        0 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF00000100007F:138E 0000000000000000FFFF00000100007F:9C40 01 0:0
"""
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: 9999       1    0    0    0     0          0         0     9999       1    0    0
  eth0: 1000      10    0    0    0     0          0         0     2000      20    0    0
  eth1:   50       1    0    0    0     0          0         0        7       1    0    0
"""


def test_only_established_connections_of_the_servers_end_count(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "tcp6").write_text(TCP6)
    assert port_use(5006, tmp_path) == PortUse(established=2, listening=True)
    assert port_use(0xD431, tmp_path) == PortUse(established=1, listening=False)


def test_a_kernel_without_ipv6_has_no_such_table(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert port_use(5006, tmp_path).established == 1


def test_real_connections_are_seen_on_both_families() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port_use(port) == PortUse(0, listening=True)
        with socket.create_connection(("127.0.0.1", port)):
            assert port_use(port).established == 1
    assert port_use(free_port()) == PortUse(0, listening=False)


def test_network_bytes_leave_the_loopback_out(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(DEV)
    assert network_bytes(tmp_path) == (1050, 2007)


def quiet_for(observer: Observer) -> float:
    return float(state(observer.observe())["last_disconnect_age_s"])


def test_a_connection_that_is_gone_counts_as_a_disconnect() -> None:
    """Its user may be about to come back, and no agent is there to tell."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        observer = Observer("nobody-is-here", listener.getsockname()[1])
        observer._fell_at -= 100.0
        with socket.create_connection(listener.getsockname()):
            assert quiet_for(observer) >= 100
        wait_until(lambda: quiet_for(observer) < 50, "the connection to be missed")


def test_what_was_before_an_observer_began_may_have_been_a_disconnect() -> None:
    assert quiet_for(Observer("nobody-is-here", free_port())) < 50
