"""Without an agent: how many TCP connections the app's port has, an upper bound of its sessions.

Exact when every connection is one WebSocket; a browser that talks to the server directly holds up
to six, a proxy's keep-alive pool some more. Too many is the safe direction: nobody is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = "01"
LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class PortUse:
    """Established connections at a local TCP port, and whether anybody listens on it."""

    established: int = 0
    listening: bool = False


def port_use(port: int, proc_net: Path = Path("/proc/net")) -> PortUse:
    """The use of a local port over IPv4 and IPv6; 25 ms at 10,000 connections."""
    suffix = f":{port:04X}"
    states = [
        row[3]
        for table in ("tcp", "tcp6")
        for row in map(str.split, _lines(proc_net / table))
        if len(row) > 3 and row[1].endswith(suffix)
    ]
    return PortUse(states.count(ESTABLISHED), LISTEN in states)


def network_bytes(proc_net: Path = Path("/proc/net")) -> tuple[int, int]:
    """Bytes received and sent by this network namespace, loopback excluded."""
    received = sent = 0
    for line in _lines(proc_net / "dev"):
        interface, _, numbers = line.partition(":")
        fields = numbers.split()
        if interface.strip() != "lo" and len(fields) >= 9:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def _lines(path: Path) -> list[str]:
    """A kernel table without its heading; empty where the kernel has no such table."""
    try:
        return path.read_text("ascii", "replace").splitlines()[1:]
    except OSError:
        return []
