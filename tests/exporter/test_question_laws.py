"""No interleaving of use, answers, sleep, lost connections and late reports closes a used page."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exporter.agent.question import (
    GAP_SECONDS,
    GRACE_SECONDS,
    SHOW_AGAIN_SECONDS,
    Question,
)

ARRIVES_WITHIN = 1.0  # seconds for a message, as long as there is a connection
RARELY = st.integers(0, 3).map(lambda chance: chance == 3)


@dataclass
class Page:
    """A page as `notice_bar.js` makes it, with what really happens to its user.

    arriving: showings on the way to the page: their number, and the seconds that are left.
    leaving: words on the way to the server, with the number of the showing that they answer.
    absences: from when to when the page could not show anything. acted: whether its user did
    something about the question that it shows.
    """

    awake: bool = True
    number: int = 0
    is_shown: bool = False
    arriving: list[tuple[int, float]] = field(default_factory=list)
    leaving: list[tuple[str, int]] = field(default_factory=list)
    absences: list[tuple[float, float]] = field(default_factory=list)
    acted: bool = False

    def shows(self) -> None:
        """Handle the showings that have arrived, if the machine is awake."""
        while self.awake and self.arriving:
            self.number, left = self.arriving.pop(0)
            self.is_shown = True
            self.leaving.append(("silent" if left <= 0 else "shown", self.number))

    def acts(self) -> None:
        """The user moves the mouse, or presses the button that is left when the time is over."""
        if self.is_shown:
            self.acted = True
            self.is_shown = False
            self.leaving.append(("stay", self.number))


class QuestionMachine(RuleBasedStateMachine):
    """The server's side is the real `Question`, by the clock of the test."""

    @initialize(seconds=st.sampled_from([10.0, 30.0, 60.0]))
    def ask(self, seconds: float) -> None:
        self.now = self.shown_at = self.absent_since = 1_000.0
        self.seconds = seconds
        self.question = Question(seconds)
        self.page = Page()
        self.is_connected = True
        self.connected_at = self.now
        self.released = False
        self.has_another_connection = False
        self.silence: tuple[float, int] | None = None
        self._show()

    def _show(self) -> None:
        """The agent shows the question again, as its loop does while nobody has answered."""
        if self.question.answered or self.released or self.silence or not self.is_connected:
            return
        if self.has_another_connection:
            self.question.begin_anew()
            self.has_another_connection = False
        left = self.question.next_showing(self.now)
        self.shown_at = self.now
        self.page.arriving.append((self.question.number, left))

    def _hear(self) -> None:
        """The server handles what has arrived, in the order in which it was sent."""
        while self.page.leaving:
            word, number = self.page.leaving.pop(0)
            if word == "stay":
                self.question.answered = True
            elif word == "shown":
                self.question.confirm(number)
            elif self.question.is_over(self.now, number):
                self.silence = self.now + GRACE_SECONDS, number

    def _release(self) -> None:
        """Close the page at the end of the grace, if it still may be closed."""
        if self.silence is not None and self.now >= self.silence[0]:
            number, self.silence = self.silence[1], None
            if self.question.is_over(self.now, number):
                self.released = True
                self.check_release()

    def _pass(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end and not self.released:
            self.now = min(end, self.now + ARRIVES_WITHIN)
            self.page.shows()
            if self.is_connected:
                self._hear()
            self._release()
            if self.now - self.shown_at >= SHOW_AGAIN_SECONDS:
                self._show()

    @property
    def is_there(self) -> bool:
        """Whether the page can show something, and say so."""
        return self.page.awake and self.is_connected

    def _leaves(self) -> None:
        if self.is_there:
            self.absent_since = self.now

    def _returns(self) -> None:
        if self.is_there:
            self.page.absences.append((self.absent_since, self.now))

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(is_heard=st.booleans())
    def nobody_answers_until_the_time_is_over(self, is_heard: bool) -> None:
        """is_heard: the server has heard so from the page; else its last showing is on the way."""
        end = self.now + self.seconds + 2 * SHOW_AGAIN_SECONDS
        while self.now < end and self.silence is None and not self.released:
            if not is_heard and any(left <= 0 for _, left in self.page.arriving):
                return
            self._pass(0.5)

    @rule(seconds=st.sampled_from([2.0, 30.0, 3_600.0]))
    @precondition(lambda self: self.page.awake)
    def the_laptop_sleeps(self, seconds: float) -> None:
        """Nothing is lost: what arrived meanwhile is handled when it wakes."""
        self._leaves()
        self.page.awake = False
        self._pass(min(seconds, 100.0))
        self.now += max(0.0, seconds - 100.0)
        self.page.awake = True
        self._returns()

    @rule(seconds=st.sampled_from([2.0, 30.0, 300.0]))
    @precondition(lambda self: self.is_connected)
    def the_connection_breaks(self, seconds: float) -> None:
        """All that is on its way is lost, and the page that reconnects shows no bar.

        The agent closes only the connection over which the page has reported silence, and asks anew
        over another one.
        """
        self._leaves()
        self.has_another_connection = True
        self.silence = None
        self.is_connected = False
        self.page.arriving.clear()
        self.page.leaving.clear()
        self._pass(seconds)
        self.page.leaving.clear()
        self.page.is_shown = self.page.acted = False
        self.is_connected = True
        self.connected_at = self.now
        self._returns()

    @rule(seconds=st.sampled_from([4.0, 40.0, 3_600.0]), acts=RARELY)
    def the_server_stands_still(self, seconds: float, acts: bool) -> None:
        """A callback blocks the loop: nothing is shown or heard, and the page goes on."""
        self.page.shows()
        self.now += seconds
        if acts and not self.released:
            self.page.acts()

    @rule(chance=st.integers(0, 7))
    @precondition(lambda self: self.page.awake and not self.released)
    def the_user_acts(self, chance: int) -> None:
        """Rarely, for afterwards there is nothing left to try."""
        if chance == 7:
            self.page.acts()

    @rule()
    @precondition(lambda self: self.silence is not None and self.page.awake)
    def the_user_acts_at_the_last_moment(self) -> None:
        self.page.acts()

    def check_release(self) -> None:
        """A page is only closed if it could be read all the time, and its user did nothing."""
        assert not self.page.acted, "a user who has answered was closed"
        began = self.now - self.seconds + GAP_SECONDS
        long = [away for away in self.page.absences if away[1] - away[0] > GAP_SECONDS]
        assert not [away for away in long if away[1] > began], "it was closed after an absence"
        assert self.connected_at <= self.now - self.seconds, "it was closed when it was just back"

    @invariant()
    def whoever_answered_is_there(self) -> None:
        assert not (self.question.answered and self.released)


QuestionMachine.TestCase.settings = settings(
    max_examples=400, stateful_step_count=40, deadline=None
)
TestQuestionLaws = QuestionMachine.TestCase


def test_a_page_that_is_there_all_the_time_and_silent_is_closed() -> None:
    """The laws above would hold of a question that is never over."""
    machine = QuestionMachine()
    machine.ask(30.0)
    machine.time_passes(30.0 + 3 * SHOW_AGAIN_SECONDS)
    assert machine.released
