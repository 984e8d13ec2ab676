"""The threat model claims nothing that no test shows."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
RIGHTS = ROOT / "deploy" / "kubernetes" / "base" / "rbac.yaml"


def section(title: str) -> str:
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("found", sorted(set(NAMED.findall(PAGE.read_text()))), ids="::".join)
def test_each_test_that_the_page_names_is_there(found: tuple[str, str]) -> None:
    file, name = found

    assert (ROOT / file).is_file()
    assert not name or name in functions(file)


@pytest.mark.parametrize("row", rows("The threat model"), ids=lambda row: row[0][:40])
def test_each_row_of_the_threat_model_has_all_its_cells_and_a_test(row: list[str]) -> None:
    assert len(row) == 5
    assert all(row)
    assert NAMED.search(row[4])


def test_each_verb_of_the_role_has_its_reason() -> None:
    told = {
        resource: verb
        for cells in rows("What the daemon may do, and why")
        for resource in re.findall(r"`([\w/]+)`", cells[0])
        for verb in [cells[1]]
    }
    written = re.findall(r"resources: \[(.*?)\]", RIGHTS.read_text())

    resources = {name.strip() for each in written for name in each.split(",")}
    assert resources == set(told)


def test_the_page_and_the_way_to_report_lead_to_each_other() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE.read_text()
