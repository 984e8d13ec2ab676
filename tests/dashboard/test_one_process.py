"""Work in another process: the last job of each owner counts, and a killed process is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.adapters.workers.one_process import (
    KILLED,
    Done,
    Dropped,
    Failed,
    Message,
    OneProcess,
    Progress,
)
from autoscaler.errors import AutoscalerError
from tests.lab.processes import wait_until

pytestmark = pytest.mark.slow
WITHIN = 30.0
STUCK = "until it is dropped"


class Work:
    """Counts its jobs. A number is squared, one below zero is refused, a text takes forever."""

    def __init__(self) -> None:
        self._jobs = 0

    def __call__(self, job: Any, progress: Callable[[float], None]) -> Any:
        self._jobs += 1
        while job == STUCK:
            progress(0.5)
            time.sleep(0.01)
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job < 0:
            raise AutoscalerError(f"{job} is below zero")
        return job**2, self._jobs


class Owner:
    """Hears what becomes of its jobs."""

    def __init__(self, process: OneProcess[Any]) -> None:
        self._process = process
        self.heard: list[Message] = []
        self._lock = threading.Lock()

    def submit(self, job: Any) -> None:
        self._process.submit(self, job, self._hear)

    def _hear(self, message: Message) -> None:
        with self._lock:
            self.heard.append(message)

    def hears(self, message: Message) -> None:
        wait_until(lambda: message in self.heard, WITHIN, f"{message} in {self.heard}")


@pytest.fixture
def process() -> OneProcess[Any]:
    return OneProcess(Work())


def test_it_does_one_job_after_the_other_and_keeps_its_state(process: OneProcess[Any]) -> None:
    owner = Owner(process)
    owner.submit(3)
    owner.hears(Done((9, 1)))
    owner.submit(-4)
    owner.hears(Failed("-4 is below zero"))
    owner.submit(5)
    owner.hears(Done((25, 3)))


def test_a_newer_job_of_the_same_owner_ends_the_older_one(process: OneProcess[Any]) -> None:
    owner = Owner(process)
    owner.submit(STUCK)
    owner.hears(Progress(0.5))
    owner.submit(3)
    owner.hears(Done((9, 2)))
    assert Dropped() not in owner.heard


def test_the_jobs_of_others_wait_and_are_done(process: OneProcess[Any]) -> None:
    first, second = Owner(process), Owner(process)
    first.submit(STUCK)
    first.hears(Progress(0.5))
    second.submit(3)
    assert second.heard == []

    process.forget(first)
    second.hears(Done((9, 2)))


def test_a_killed_process_is_told_and_the_next_job_has_another_one(
    process: OneProcess[Any],
) -> None:
    owner = Owner(process)
    owner.submit("die")
    owner.hears(Failed(KILLED))
    owner.submit(3)
    owner.hears(Done((9, 1)))


def test_an_owner_that_cannot_be_told_keeps_nobody_else_from_it(process: OneProcess[Any]) -> None:
    def closed(message: Message) -> None:
        raise RuntimeError(f"nobody hears {message}")

    process.submit("a closed page", 3, closed)
    owner = Owner(process)
    owner.submit(4)
    owner.hears(Done((16, 2)))


@pytest.mark.parametrize("jobs", [range(30)])
def test_of_many_quick_edits_the_last_one_is_answered(
    process: OneProcess[Any], jobs: range
) -> None:
    owner = Owner(process)
    for job in jobs:
        owner.submit(job)
    wait_until(
        lambda: any(isinstance(m, Done) and m.result[0] == jobs[-1] ** 2 for m in owner.heard),
        WITHIN,
        "the last answer",
    )
