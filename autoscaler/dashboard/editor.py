"""The editor of a policy, which simulates what is typed."""

from __future__ import annotations

from functools import partial
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import Column, Range1d
from bokeh.models.widgets import Button, TextAreaInput

from autoscaler.adapters.policies.edits import settings_text
from autoscaler.adapters.workers.one_process import Done, Failed, Message, OneProcess, Progress
from autoscaler.dashboard import words
from autoscaler.dashboard.boxes import put, text_box
from autoscaler.dashboard.edits import Edit, Outcome
from autoscaler.html_report.plots import axis_of
from autoscaler.html_report.replicas import replicas_plot
from autoscaler.html_report.users import users_plot
from autoscaler.reporting.status_report import PolicyStatus

# Milliseconds without a key press, after which the text is simulated.
PAUSE = 600


class Editor:
    """Shows a policy and what an edit of it would have done."""

    def __init__(self, document: Document, simulations: OneProcess[Edit]) -> None:
        self._document = document
        self._simulations = simulations
        self._active = ""
        self._price: float | None = None
        self._timer: Any = None
        self._edits = 0
        self._text = TextAreaInput(
            title="Policy",
            rows=14,
            max_length=None,
            sizing_mode="stretch_width",
            css_classes=["policy"],
        )
        self._text.on_change("value_input", self._typed)
        self._reset = Button(label="Back to the active policy", width=220)
        self._reset.on_click(self._revert)
        self._progress, self._result = text_box("progress"), text_box("result")
        self._picture: Column = column(text_box("none"), sizing_mode="stretch_width")
        document.on_session_destroyed(self._closed)

    def _closed(self, context: object) -> None:
        self._simulations.forget(self)

    @property
    def root(self) -> Column:
        """The parts, one below the other."""
        parts = (self._text, self._reset, self._progress, self._result, self._picture)
        return column(*parts, name="editor", sizing_mode="stretch_width")

    def follow(self, status: PolicyStatus, price: float | None) -> None:
        """Compare with the active policy of this target, and show it unless another was typed."""
        self._price = price
        self._text.disabled = status.settings is None
        if status.settings is None:
            self._text.placeholder = "This daemon does not tell its policies: update it."
        active = settings_text(status.settings or {})
        if active == self._active:
            return
        is_untouched = self._text.value_input in {None, "", self._active}
        is_other = self._target_of(self._active) != self._target_of(active)
        self._active = active
        if is_untouched or is_other:
            self._revert()

    @staticmethod
    def _target_of(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("target:")]

    def _revert(self) -> None:
        self._text.update(value=self._active, value_input=self._active)
        self._forget()

    def _forget(self) -> None:
        """Show no result."""
        self._edits += 1
        self._simulations.forget(self)
        for box in (self._progress, self._result):
            put(box, "")
        self._picture.children = [text_box("none")]

    def _typed(self, attr: str, old: object, new: object) -> None:
        """Simulate the text once nothing more is typed for a while."""
        if self._timer is not None:
            self._document.remove_timeout_callback(self._timer)
        self._timer = self._document.add_timeout_callback(self._simulate, PAUSE)

    def _simulate(self) -> None:
        self._timer = None
        text = str(self._text.value_input or "")
        if text == self._active:
            self._forget()
            return
        self._edits += 1
        put(self._progress, words.progress_html(0.0))
        edit = Edit(text, self._active, self._price)
        self._simulations.submit(self, edit, partial(self._later, self._edits))

    def _later(self, number: int, message: Message) -> None:
        """Show a message of the simulation's thread in the document's own."""
        self._document.add_next_tick_callback(partial(self._show, number, message))

    def _show(self, number: int, message: Message) -> None:
        if number != self._edits:
            return
        match message:
            case Progress(share):
                put(self._progress, words.progress_html(share))
            case Failed(reason):
                put(self._progress, "")
                put(self._result, words.wrong_html(reason))
            case Done(result):
                put(self._progress, "")
                self._compare(result)

    def _compare(self, outcome: Outcome) -> None:
        """Show the scores of both policies, and the edited one's course beside the active one's."""
        put(self._result, words.outcome_html(outcome))
        axis = axis_of(outcome.edited)
        start, end = (axis.to_axis(at) for at in (outcome.edited.start, outcome.edited.end))
        span = Range1d(start=start, end=end, bounds="auto")
        self._picture.children = [
            users_plot(outcome.edited, span, axis),
            replicas_plot(outcome.edited, {"active policy": outcome.active}, span, axis),
        ]
