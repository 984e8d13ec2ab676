"""The seed of the random cases, and the real controllers that they are put before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drain.shrinking import CONTROLLERS
from tests.lab.build import KUBERNETES, installed
from tests.lab.control_plane import ControlPlane


@pytest.fixture(scope="session")
def seed() -> int:
    """DRAIN_SEED, or a new one for every run."""
    return int(os.environ.get("DRAIN_SEED") or secrets.randbelow(10**6))


@pytest.fixture(scope="session")
def programs() -> Path:
    found = installed(KUBERNETES)
    if found is None:
        pytest.skip(
            "NO KUBERNETES CONTROL PLANE: `make parts` builds it, or set KUBEBUILDER_ASSETS"
        )
    return found


@pytest.fixture
def replica_sets(programs: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server with the ReplicaSet controller and, but for ServiceAccounts, no other."""
    with ControlPlane(programs, tmp_path, CONTROLLERS) as started:
        yield started
