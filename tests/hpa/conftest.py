"""The real HPA controller for the tests of this folder, and the seed of their random cases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.hpa.oracle import Oracle
from tests.lab.build import KUBERNETES, installed


@pytest.fixture(scope="session")
def seed() -> int:
    """HPA_SEED, or a new one for every run."""
    return int(os.environ.get("HPA_SEED") or secrets.randbelow(10**6))


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """A control plane of its own: the controller runs with other flags, on metrics of ours."""
    programs = installed(KUBERNETES)
    if programs is None:
        pytest.skip(
            "NO KUBERNETES CONTROL PLANE: `make parts` builds it, or set KUBEBUILDER_ASSETS"
        )
    with Oracle(programs, tmp_path_factory.mktemp("oracle")) as started:
        yield started
