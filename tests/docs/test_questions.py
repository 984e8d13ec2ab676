"""The first page of the site leads from each question that operators ask to a short answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import FOLDER
from tests.deploy.pages import ANSWERS_PAGE, PAGES, WITH_LINKS, anchors, commands, printed

INDEX = Path(__file__).parents[2] / "docs" / "index.md"
RIGHTS = FOLDER / "base" / "rbac.yaml"
# So that an answer is read within a minute.
MOST_WORDS = 80
MOST_LINES = 7  # of a block of commands, or of a table with its head
# What an operator asks, and a word of the answer.
ASKED = {
    "Why is my pod cordoned?": "cordoned-for",
    "Why does it not scale up or down?": "autoscaler status",
    "What do I alert on?": "severity: critical",
    "How do I choose `seats`?": "event loop",
    "How do I leave HPA?": "autoscaler convert",
    "How do I upgrade?": "helm upgrade",
    "How do I uninstall?": "autoscaler remove",
    "What may it do in my cluster, and why?": "deployments/scale",
    "What does it send where?": "/metrics",
    "How do I pause it in an incident?": "bokeh-autoscaler/paused",
    "How do I close forgotten tabs?": "idle: {after",
    "What do my users see before a pod ends?": "drain.deadline",
    "How do I tell all users something?": "autoscaler notify",
    "How do I put the dashboard behind our login?": "oauth2-proxy",
    "How does my app keep a long computation alive?": "busy_until",
}


def questions() -> dict[str, str]:
    """What the first page asks, each with the anchor of its answer."""
    section = INDEX.read_text().split("\n## Questions\n")[1].split("\n## ")[0]
    row = r"^\| \[(.+?\?)\]\(answers\.md#([\w-]+)\) \| \[.+\]\(.+\) \|$"
    return dict(re.findall(row, section, re.MULTILINE))


def answers() -> dict[str, str]:
    """The sections of the page of the answers, each by its title."""
    _, *sections = re.split(r"^## ", ANSWERS_PAGE.read_text(), flags=re.MULTILINE)
    return dict(section.split("\n", 1) for section in sections)


ANSWERS = answers()


def pieces(answer: str) -> tuple[list[str], list[list[str]]]:
    """The words of its sentences, without the targets of links; and the lines of each piece.

    A piece is a block of code, or a table without the line below its head.
    """
    fenced = r"^```\w*\n(.*?)^```$"
    blocks = [each.splitlines() for each in re.findall(fenced, answer, re.MULTILINE | re.DOTALL)]
    rest = re.sub(fenced, "", answer, flags=re.MULTILINE | re.DOTALL)
    tables = [
        [line for line in each.splitlines() if not line.startswith("|---")]
        for each in re.findall(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    ]
    sentences = re.sub(r"^\|.*\n", "", rest, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", sentences).split(), [*blocks, *tables]


def test_each_question_of_the_first_page_leads_to_its_answer() -> None:
    assert list(questions()) == list(ASKED) == list(ANSWERS)
    assert set(questions().values()) <= anchors(ANSWERS_PAGE)


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_short_and_leads_on(question: str) -> None:
    answer = ANSWERS[question]

    words, found = pieces(answer)

    assert ASKED[question] in answer
    assert len(words) <= MOST_WORDS
    assert len(found) <= 1
    assert all(len(lines) <= MOST_LINES for lines in found)
    more = [(ANSWERS_PAGE.parent / link).resolve() for link in re.findall(r"\]\(([^)#]+)", answer)]
    assert set(more) & set(WITH_LINKS)


def test_what_is_long_is_noticed() -> None:
    words, found = pieces("Two [words](a.md#b).\n\n```sh\na\nb\n```\n\n| A |\n|---|\n| b |\n")

    assert words == ["Two", "[words]."]
    assert found == [["a", "b"], ["| A |", "| b |"]]


def test_each_command_of_an_answer_is_on_the_page_that_says_more() -> None:
    """The tests of that page run it."""
    elsewhere = {each for page in PAGES if page != ANSWERS_PAGE for each in printed(page)}

    assert [each for each in commands(ANSWERS_PAGE) if each not in elsewhere] == []


def test_the_answer_names_every_resource_that_the_daemon_may_touch() -> None:
    roles = [each for each in yaml.safe_load_all(RIGHTS.read_text()) if each["kind"] == "Role"]
    resources = {name for role in roles for rule in role["rules"] for name in rule["resources"]}

    told = re.findall(r"`([a-z/]+)`", ANSWERS["What may it do in my cluster, and why?"])

    assert set(told) == resources
