"""The table of `autoscaler status`, and how a terminal is drawn over."""

from __future__ import annotations

import io
import os
import re
from typing import Any

import pytest

from autoscaler.commands.status_table import COLUMNS, Screen, table
from autoscaler.reporting.status_report import (
    Pods,
    PolicyStatus,
    Replicas,
    Seats,
    StatusReport,
)
from tests.deploy.pages import STATUS_PAGE, blocks

QUOTA = 'pods "bokeh-app-1" is forbidden: exceeded quota: team'


def a_status(**changes: Any) -> PolicyStatus:
    settings: dict[str, Any] = {
        "policy": "dashboards",
        "namespace": "bokeh",
        "deployment": "bokeh-app",
        "leader": True,
        "reason": "DesiredWithinRange",
        "detail": "nothing to change",
        "held_for": 252.0,
        "age": 1.2,
        "interval": 2.0,
        "sessions": 24,
        "replicas": Replicas(3, 3, 2, 3, 1, 20),
        "seats": Seats(30, 6, 5),
        "pods": Pods(open=2, reserve=1, full=0, draining=0, starting=0, waiting=0, leaving=12),
    }
    return PolicyStatus(**{**settings, **changes})


def lines(*policies: PolicyStatus, wide: bool = False, **rejected: tuple[str, ...]) -> list[str]:
    return list(table(StatusReport(policies, rejected), wide=wide))


def test_each_policy_is_a_line_below_the_titles() -> None:
    assert lines(a_status(), a_status(deployment="b", sessions=7)) == [
        "TARGET            USERS   SEATS   REPLICAS   DRAINING   REASON               AGE",
        "bokeh/bokeh-app   24      30      3          0          DesiredWithinRange   4m",
        "bokeh/b           7       30      3          0          DesiredWithinRange   4m",
    ]


def test_wide_adds_columns_and_the_reason_in_words() -> None:
    learned = "13 seats for each pod: at 13 sessions the event loop is busy"
    titles, line = lines(a_status(learned=learned), wide=True)

    told = dict(zip(titles.split(), line.split(maxsplit=16), strict=True))
    assert told == {
        "TARGET": "bokeh/bokeh-app",
        "USERS": "24",
        "SEATS": "30",
        "LEARNED": "13",
        "FREE": "6",
        "SPARE": "5",
        "REPLICAS": "3",
        "READY": "3",
        "WANTED": "2",
        "RESERVE": "1",
        "DRAINING": "0",
        "LEAVING": "12",
        "REASON": "DesiredWithinRange",
        "AGE": "4m",
        "PASS": "1s",
        "POLICY": "dashboards",
        "DETAIL": "nothing to change",
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"without_data": 1}, " 24+ "),
        ({"replicas": Replicas(3, 5, 5, 3, 1, 20)}, " 3 -> 5 "),
        ({"pods": Pods(2, 0, 0, 2, 0, waiting=5)}, " 2 (5 users) "),
        ({"pods": Pods(2, 0, 0, 1, 0, waiting=1)}, " 1 (1 user) "),
        ({"held_for": 119.0}, " 1m59s"),
        ({"held_for": 7_199.0}, " 1h59m"),
        ({"held_for": 100_000.0}, " 1d3h"),
        ({"sessions": None, "seats": None, "replicas": None, "pods": None}, " -       -       - "),
        ({"reason": "red\x1b[31m\n"}, r" red\x1b[31m\n "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cell_says_what_is_known(changes: dict[str, Any], told: str) -> None:
    _, line, *_ = lines(a_status(**changes))

    assert told in f"{line} "


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"problem": "no answer"}, "bokeh/bokeh-app: no answer"),
        ({"problem": "bokeh/bokeh-app: no such"}, "bokeh/bokeh-app: no such"),
        ({"age": 10.1}, "bokeh/bokeh-app: the last reconcile pass ended 10s ago"),
        ({"age": 100.0, "interval": 30.0}, None),
        ({"not_created": QUOTA}, f"bokeh/bokeh-app: Kubernetes creates no further pod: {QUOTA}"),
        ({}, None),
    ],
    ids=[
        "a problem",
        "one that names the target",
        "an old pass",
        "a slow policy",
        "a quota",
        "nothing",
    ],
)
def test_what_is_wrong_is_told_below(changes: dict[str, Any], note: str | None) -> None:
    _, _, *notes = lines(a_status(**changes))

    assert notes == ([] if note is None else [note])


def test_a_rejected_file_and_no_policy_at_all_are_told() -> None:
    assert lines(**{"a.yaml": ("a.yaml:3: replicas",)})[1:] == [
        "the daemon has no policy",
        "a.yaml is rejected, and its last valid version, if any, stays active: line 3: replicas",
    ]


def test_a_directory_without_a_policy_file_is_not_said_to_be_rejected() -> None:
    assert list(table(StatusReport(empty=("/etc/policies",))))[1:] == [
        "the daemon has no policy",
        "/etc/policies has no policy file",
    ]


def test_the_page_shows_what_is_printed() -> None:
    [shown] = blocks(STATUS_PAGE, "text")

    draining = Pods(open=1, reserve=0, full=0, draining=2, starting=0, waiting=2)
    told = a_status(
        sessions=3, seats=Seats(10, 9, 0), pods=draining, reason="SessionsStillOpen", held_for=69.0
    )
    assert lines(told) == shown.splitlines()


def test_the_page_explains_each_column() -> None:
    rows = re.findall(r"^\| ([A-Z][A-Z, ]+) \|", STATUS_PAGE.read_text(), re.MULTILINE)

    assert {title for row in rows for title in row.split(", ")} == {each.title for each in COLUMNS}


class Terminal(io.StringIO):
    """A terminal of 20 columns and 4 lines."""

    def isatty(self) -> bool:
        return True


def drawn(text: str) -> list[str]:
    """What a terminal shows in the end: up, clear from there on, and lines are obeyed."""
    shown: list[str] = []
    for part in text.replace("\r\x1b[J", "\x1b[J").split("\x1b["):
        if part.startswith("J"):
            shown += part[1:].splitlines()
        elif part:
            shown = shown[: len(shown) - int(part.removesuffix("A"))]
    return shown


def test_on_a_terminal_the_last_table_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    size = os.terminal_size((20, 4))
    monkeypatch.setattr("shutil.get_terminal_size", lambda: size)
    screen = Screen(stream := Terminal())

    screen.show(["a", "b", "c"])
    screen.show(["a line that is longer than the terminal"])
    screen.show(["1", "2", "3", "4", "5"])
    assert drawn(stream.getvalue()) == ["1", "2", "3 more lines: name "]
    screen.show(["1", "2", "3", "4"], ["no answer"])
    assert drawn(stream.getvalue()) == ["1", "3 more lines: name ", "no answer"]
    screen.show(["a line that is longer than the terminal"])

    assert drawn(stream.getvalue()) == ["a line that is long"]


def test_elsewhere_tables_follow_one_another() -> None:
    screen = Screen(stream := io.StringIO())

    screen.show(["a"])
    screen.show(["b"])

    assert stream.getvalue() == "a\nb\n"
