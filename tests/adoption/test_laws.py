"""Whatever a manifest has in any place, `autoscaler init` adopts it or says in one line why not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.adoption.merge import merged
from autoscaler.cli import main
from tests.adoption import apps
from tests.adoption.apps import APPS

ODD: tuple[Any, ...] = (None, [], {}, "", "x", 3, True, [None], {"a": None}, [{}], [[]], ["x"])
SOME = ("volumes and init containers", "probes that open the page", "Services by different labels")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside another one."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def changed(objects: Any, path: tuple[Any, ...], value: Any) -> Any:
    result = copy.deepcopy(objects)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return result


PATHS = [(case, path) for case in SOME for path in places(APPS[case])]


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.sampled_from(PATHS), value=st.sampled_from(ODD), sticky=st.booleans())
def test_an_odd_value_anywhere_is_adopted_or_one_line(
    where: tuple[str, tuple[Any, ...]],
    value: Any,
    sticky: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case, path = where
    file = apps.write(tmp_path, changed(APPS[case], path, value))
    words = ("--sticky", "nginx") if sticky else ()

    code = main(["init", str(file), "--output", str(tmp_path / "out"), "--force", *words])

    said = capsys.readouterr()
    assert code in (0, 2)
    assert (code == 0) == bool(said.out)
    assert (code == 2) == bool(said.err)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=3),
)
MAPPINGS = st.dictionaries(st.text("ab"), VALUES, max_size=3)


@given(base=MAPPINGS, patch=MAPPINGS)
def test_a_patch_that_is_merged_twice_changes_nothing_more(base: Any, patch: Any) -> None:
    once = merged(base, patch)

    assert merged(once, patch) == once


@given(base=MAPPINGS, patch=MAPPINGS)
def test_what_a_patch_does_not_name_stays(base: Any, patch: Any) -> None:
    kept = {key: value for key, value in base.items() if key not in patch}

    assert kept.items() <= merged(base, patch).items()
