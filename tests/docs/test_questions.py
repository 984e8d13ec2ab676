"""The first page of the site leads from each question that operators ask to its answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.pages import anchors

INDEX = Path(__file__).parents[2] / "docs" / "index.md"
# What an operator asks, and a word of the answer.
ASKED = {
    "Why is my pod cordoned?": "cordoned-for",
    "What do I alert on?": "severity: critical",
    "How do I choose `seats`?": "event loop",
    "How do I leave HPA?": "autoscaler convert",
    "How do I upgrade?": "Upgrade the daemon",
    "How do I uninstall?": "autoscaler remove",
    "What may it do in my cluster, and why?": "deployments/scale",
    "What does it send where?": "/metrics",
}


def answers() -> dict[str, list[str]]:
    """The links of each question."""
    section = INDEX.read_text().split("\n## Questions\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?\?) \| (.+?) \|$", section, re.MULTILINE)
    return {question: re.findall(r"\]\(([^)]+)\)", answer) for question, answer in rows}


def part(link: str) -> str:
    """The text from the heading that a link leads to until the next one of its rank."""
    name, _, anchor = link.partition("#")
    page = INDEX.parent / name
    if not anchor:
        return page.read_text()
    assert anchor in anchors(page), link
    titles = re.findall(r"^(#+) (.+)$", page.read_text(), re.MULTILINE)
    marks, title = next(
        (marks, title)
        for marks, title in titles
        if re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") == anchor
    )
    rest = page.read_text().split(f"{marks} {title}\n", 1)[1]
    return re.split(rf"^#{{1,{len(marks)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("question", ASKED)
def test_the_first_link_leads_to_the_answer(question: str) -> None:
    first, *_ = answers()[question]

    assert ASKED[question] in part(first)


def test_every_question_has_an_answer() -> None:
    assert all(answers().values())
    assert set(ASKED) <= set(answers())
