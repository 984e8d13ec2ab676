"""The pages of docs/reference/ are what the code says, and name all that an operator may meet."""

from __future__ import annotations

import re

import pytest

from tests.docs.reference import EVENTS, FOLDER, KEYS, PAGES, ROOT

AGAIN = "write them anew: python -m tests.docs.reference"


def sources() -> str:
    files = sorted((ROOT / "autoscaler").rglob("*.py"))
    return "".join(file.read_text() for file in files)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text() == PAGES[name](), AGAIN


def test_there_is_no_other_page() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(PAGES)


def test_every_label_and_annotation_of_ours_is_named() -> None:
    # The daemon's own namespace and Deployment are written alike.
    ours = set(re.findall(r'"(bokeh-autoscaler/(?!bokeh-)[a-z-]+)"', sources()))
    assert ours <= set(KEYS)
    assert len(ours) >= 7


def test_every_event_that_is_no_reason_is_named() -> None:
    told = set(re.findall(r'Message\("(\w+)"|"(Failed\w+Scale)"', sources()))
    assert {name for pair in told for name in pair if name} <= set(EVENTS)
