"""Users come in waves, pods come and go, and no session is cut: the users are the witnesses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.node.shipped import Shipped
from tests.node.waves import run, summary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.node,
    pytest.mark.timing_sensitive,
    pytest.mark.timeout(500),
]

SECONDS, SEED = 180.0, 1


def test_only_the_sessions_of_a_killed_pod_are_lost(
    shipped: Shipped, show: Callable[[str], None]
) -> None:
    if not shipped.ours:
        pytest.skip("NO WAY TO KILL A CONTAINER in a cluster that is not ours")

    ours, theirs = run(shipped, SECONDS, SEED)

    show(summary(SECONDS, ours, theirs))
    assert ours.lost == (), "\n".join(ours.lost)
    assert ours.killed > 0, "the pod that was killed had users"
