"""Histories that fresh ones hardly ever are, each told for one protection, which it needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.drain.directed import DIRECTED
from tests.drain.model_cluster import ModelCluster
from tests.drain.mutations import problems_without


@pytest.mark.parametrize(
    "story", [pytest.param(each, id=each.__name__) for each in DIRECTED.values()]
)
def test_no_session_ends(story: Callable[[], ModelCluster]) -> None:
    assert not story().problems


@pytest.mark.parametrize("name", DIRECTED)
def test_without_the_protection_one_does(name: str) -> None:
    assert problems_without(name)
