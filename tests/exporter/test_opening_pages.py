"""Pages whose WebSockets have not opened yet, by the time since they were sent."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakSet

import pytest

from exporter.agent.admission import Admission
from exporter.agent.visits import OpeningPages


@pytest.mark.parametrize(
    ("age_s", "opening", "admitted"),
    [
        pytest.param(1, 1, True, id="it loads"),
        pytest.param(40, 0, True, id="a slow client may still receive it"),
        pytest.param(301, 0, False, id="its token has expired"),
    ],
)
def test_a_page_is_awaited_for_half_a_minute_and_admitted_as_long_as_its_token_is_valid(
    monkeypatch: pytest.MonkeyPatch, age_s: float, opening: int, admitted: bool
) -> None:
    pages, now = OpeningPages(), time.monotonic()
    admission = Admission(WeakSet(), pages)
    pages.sent("a session", "/app")
    admission.close(others=False)
    monkeypatch.setattr(time, "monotonic", lambda: now + age_s)
    assert sum(pages.opening().values()) == len(pages.sessions()) == opening
    assert admission.admits("a session") is admitted


@pytest.mark.parametrize(("age_s", "expected"), [(1, True), (31, False)])
def test_a_step_of_the_clock_ends_no_drain_early(
    monkeypatch: pytest.MonkeyPatch, age_s: float, expected: bool
) -> None:
    """For half a minute, a draining worker expects pages that other workers have just made."""
    admission, made_at, began = Admission(WeakSet(), OpeningPages()), time.time(), time.monotonic()
    admission.close(others=True)
    monkeypatch.setattr(time, "time", lambda: made_at + 3600)
    monkeypatch.setattr(time, "monotonic", lambda: began + age_s)
    assert admission.expects("a session", made_at) is expected


class Changing(dict[Any, Any]):
    """A dict that another thread changes while it is read for the first time."""

    def __init__(self) -> None:
        self.reads = 0

    def items(self) -> Any:
        self.reads += 1
        if self.reads == 1:
            raise RuntimeError("dictionary changed size during iteration")
        return super().items()

    def values(self) -> Any:
        return [value for _, value in self.items()]


def test_pages_may_be_sent_while_another_thread_reads_them() -> None:
    for read in (OpeningPages.opening, OpeningPages.sessions):
        pages = OpeningPages()
        pages._sent = Changing()
        pages.sent("a session", "/app")
        pages._sent.reads = 0
        assert len(read(pages)) == 1
