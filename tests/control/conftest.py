"""What all tests of passes share."""

from __future__ import annotations

import pytest

from autoscaler.control import sidecar_rounds


@pytest.fixture(autouse=True)
def _no_round_of_sidecars_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake answers at once, and its thread may still wait for a processor for a while."""
    monkeypatch.setattr(sidecar_rounds, "A_MOMENT", 10.0)
