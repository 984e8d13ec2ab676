"""The journal of real daemons: every decision is made again, whatever happened to them."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.journals import JournalFiles
from autoscaler.core.journal import Entry
from tests.lab.processes import wait_until
from tests.lab.world import AUTOSCALER, REAL_WORLD, WITHIN, World

pytestmark = [pytest.mark.timeout(240), *REAL_WORLD]
TAKEN_OVER_WITHIN = 60.0


def entries(*journals: Path) -> list[Entry]:
    return [*JournalFiles(journals).entries()]


def replayed(*journals: Path) -> Any:
    command = [AUTOSCALER, "replay", "--json", *journals]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_all_is_reproduced_over_a_kill_a_step_of_the_clock_and_a_takeover(world: World) -> None:
    ours, theirs = world.folder / "journal.jsonl", world.folder / "other.jsonl"
    ahead = world.folder / "ahead"
    ahead.write_text("0")
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    first = world.start("--journal", str(ours), name="first")
    world.reaches(3)
    wait_until(lambda: entries(ours), WITHIN, "the first daemon to write its journal")
    first.kill()
    first.wait()

    world.users.per_pod = lambda index: 12 if index < 3 else 0
    second = world.start("--journal", str(ours), name="second", ahead=ahead)
    wait_until(lambda: world.replicas() == 4, TAKEN_OVER_WITHIN, "the second daemon to scale")
    third = world.start("--journal", str(theirs), name="third")
    world.says("standby")

    ahead.write_text("2")
    world.users.per_pod = lambda index: 3 if index == 0 else 0
    wait_until(lambda: world.replicas() == 1, TAKEN_OVER_WITHIN, "the scale-down")
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0

    world.users.per_pod = lambda index: 15 if index == 0 else 0
    wait_until(lambda: world.replicas() == 2, TAKEN_OVER_WITHIN, "the third daemon to scale")
    wait_until(lambda: len(entries(theirs)) > 2, WITHIN, "passes after the scale-up")
    third.send_signal(signal.SIGTERM)
    assert third.wait(60) == 0

    told = replayed(ours, theirs)
    assert (told["share"], told["differing"]) == (1.0, [])
    made = entries(ours, theirs)
    assert told["decisions"] == len(made) > 15
    assert len({entry.writer for entry in made}) == 3
    assert {2, 3, 4, 1} <= {entry.decision.desired for entry in made}
    steps = [
        later.at - entry.at
        for entry, later in pairwise(entries(ours))
        if entry.writer == later.writer  # not the takeover, which takes longer
    ]
    assert max(steps) > 2.5, f"no pass came 2 s later by its clock: {steps}"
    explains(theirs)


def explains(journal: Path) -> None:
    """The scale-up that the last daemon made, in words."""
    scaled = next(entry for entry in entries(journal) if entry.changed)
    at = datetime.fromtimestamp(scaled.at, UTC).isoformat()
    command = [AUTOSCALER, "explain", journal, "--at", at]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "They had 15 sessions" in words
    assert "(15 connected + 0 spare) / 10 seats: 15 / 10 = 1.50, rounded up to 2." in words
    assert "spec.replicas was set from 1 to 2." in words


def test_a_journal_that_cannot_be_opened_keeps_the_daemon_from_starting(world: World) -> None:
    daemon = world.start("--journal", str(world.folder / "missing" / "journal.jsonl"))

    assert daemon.wait(WITHIN) == 1
    assert "missing/journal.jsonl: No such file or directory" in world.log.read_text()
