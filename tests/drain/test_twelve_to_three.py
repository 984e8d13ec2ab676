"""From 12 pods to 3 while users come and go: our shrinks end no session, the HPA's end many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drain import theirs
from tests.drain.twelve_to_three import seeds, summary, travel
from tests.hpa.oracle import Oracle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.timeout(1_500),
]

RUNS = 12  # `make bench-kubernetes` makes 200


def test_no_session_is_cut_on_the_way_from_12_to_3_pods(
    programs: Path, tmp_path: Path, seed: int, show: Callable[[str], None]
) -> None:
    """And whoever goes is a pod that was chosen when nobody was on it."""
    with Oracle(programs, tmp_path, theirs.OPTIONS) as oracle:
        us, them, problems = travel(oracle, seeds(seed, RUNS))

    show(summary(seed, us, them))
    assert not problems
    assert us.cut == 0
    assert us.sessions == them.sessions
    assert them.cut > 0, "a shrink that cuts nobody anyway proves nothing"
