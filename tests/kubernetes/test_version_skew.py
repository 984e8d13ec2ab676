"""Daemons of two versions on a real API server: an upgrade, and the way back."""

from __future__ import annotations

import signal

import pytest

from tests.lab.older_version import OlderVersion
from tests.lab.world import AUTOSCALER, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.timing_sensitive,
    pytest.mark.timeout(240),  # the older version may have to be installed
    pytest.mark.parametrize("prometheus_program", ["current"], indirect=True),
]


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["an upgrade", "the way back"])
def test_the_next_version_waits_until_the_other_one_ends_and_goes_on_with_its_cooldowns(
    world: World, older: OlderVersion, is_upgrade: bool
) -> None:
    programs = [older.program("autoscaler"), [str(AUTOSCALER)]]
    before, after = programs if is_upgrade else reversed(programs)
    world.write_policy(cooldown={"down": "1h"})
    world.users.per_pod = lambda index: 25 if index == 0 else 0
    world.deploy(1)
    first = world.start(name="before", program=before)
    world.reaches(3)
    world.users.per_pod = lambda _: 0
    world.start(name="after", program=after)
    world.says("standby: ")
    assert "leading: " not in world.log.read_text()

    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0

    world.says("leading: ")
    world.says("CooldownDown: 1 replica wanted, the cooldown lasts 59m")
    assert world.replicas() == 3
