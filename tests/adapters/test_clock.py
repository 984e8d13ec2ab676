"""The daemon's clock on a machine whose clock is wrong; the API server tells the time."""

from __future__ import annotations

import logging
from email.utils import formatdate

import pytest

from autoscaler.adapters.clock import SystemClock

START = 1_700_000_000.0


class Machine:
    """A clock that is ahead, of an API server whose answers take a tenth of a second."""

    def __init__(self, ahead: float) -> None:
        self.ahead, self.time = ahead, 0.3
        self.clock = SystemClock(lambda: START + self.time + self.ahead, lambda: self.time)

    def ask(self, date: str | None = None) -> None:
        sent, at = self.time, START + self.time
        self.time += 0.1
        self.clock.hear(sent, date or formatdate(at, usegmt=True))

    def wrong_by(self) -> float:
        return self.clock.now() - (START + self.time)


@pytest.mark.parametrize("ahead", [600.0, -600.0, 3.6e6], ids=["ahead", "behind", "six weeks"])
def test_it_goes_by_the_api_server_from_the_next_pass_on(
    ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(ahead)
    machine.ask()
    assert machine.wrong_by() == pytest.approx(ahead), "nothing jumps in the middle of a pass"

    assert machine.clock.stepped() == pytest.approx(-ahead, abs=1.2)
    assert machine.wrong_by() == pytest.approx(0, abs=1.2)
    assert machine.clock.ahead() == pytest.approx(ahead, abs=1.2)
    for _ in range(20):
        machine.time += 1.7
        machine.ask()
        assert machine.clock.stepped() == 0.0
    assert len(caplog.messages) == 1
    side = "ahead of" if ahead > 0 else "behind"
    assert f"s {side} the clock of the Kubernetes API server" in caplog.messages[0]
    assert "by NTP" in caplog.messages[0]


def test_a_machine_whose_clock_is_set_right_or_wrong_moves_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine(0.0)
    said = []
    for ahead in (0.0, 600.0, 0.0):
        machine.ahead = ahead
        machine.ask()
        assert machine.clock.stepped() == 0.0
        assert machine.wrong_by() == pytest.approx(0, abs=1.2)
        said.append(len(caplog.messages))

    assert said == [0, 1, 2]
    assert "agrees with that of the Kubernetes API server again" in caplog.messages[-1]


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Foo 2023 25:61:61 GMT", "", "\u2028" * 9])
def test_an_answer_without_a_date_tells_nothing(date: str) -> None:
    machine = Machine(600.0)
    machine.clock.hear(machine.time, date)
    machine.clock.hear(machine.time, None)

    assert machine.clock.stepped() == 0.0
    assert machine.wrong_by() == pytest.approx(600)
