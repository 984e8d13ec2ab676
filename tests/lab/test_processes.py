"""Ports for the servers of tests, which may listen long after they were given one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.lab import processes
from tests.lab.processes import MOST_KEPT, free_ports, keep


def test_a_port_is_given_once_before_its_server_listens() -> None:
    (port,) = free_ports(1)
    with pytest.raises(OSError, match="in use"):
        keep(port)
    line = f"from tests.lab.processes import keep; keep({port})"
    other = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=False
    )
    assert "Address already in use" in other.stderr
    free_ports(MOST_KEPT)
    assert len(processes._kept) == MOST_KEPT  # by now the server of the first one listens
