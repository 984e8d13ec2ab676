"""The recent past of one target: its plots, and what changed, held and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bokeh.layouts import column
from bokeh.models import Column, Range1d
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from pydantic import ValidationError

from autoscaler.core.forecast import SLOT
from autoscaler.dashboard import words
from autoscaler.dashboard.boxes import put, text_box
from autoscaler.dashboard.plots import live_plots, refresh
from autoscaler.html_report.plots import axis_of
from autoscaler.policy import Policy
from autoscaler.reporting.status_report import PolicyStatus
from autoscaler.simulation.foreseen import foreseen
from autoscaler.simulation.live import Recorded, Told, costs_of, holds_of, timeline_of

# For so much longer than what came is the forecast shown, as a part of the time that is shown.
AHEAD = 0.1


class Charts:
    """Draws one target after the other. timezone: in which to show times; None: this machine's."""

    def __init__(self, timezone: str | None) -> None:
        self._timezone = timezone
        self._span = Range1d()
        self._was_set = (0.0, 0.0)
        self._shown: list[figure] = []
        self._waiting = text_box("waiting")
        self._waiting.text = words.paragraph("Waiting for Prometheus.")
        self.plots: Column = column(self._waiting, name="plots", sizing_mode="stretch_width")
        self.changes, self.holds = text_box("changes"), text_box("holds")
        self.costs = text_box("costs")

    @property
    def roots(self) -> tuple[Column, Div, Div, Div]:
        """The parts, which the template of the page puts at their places."""
        return self.plots, self.changes, self.holds, self.costs

    def show(
        self,
        status: PolicyStatus,
        recorded: Recorded,
        rates: Mapping[int, float],
        told: Sequence[Told],
        *,
        is_other: bool,
    ) -> None:
        """Draw what was recorded.

        rates: arrivals of each five minutes. is_other: whether it is another target or time than
        before, so that nothing stays of what the reader chose in the plots.
        """
        timeline = timeline_of(recorded, _seats(status), told, self._timezone)
        axis = axis_of(timeline)
        ahead = recorded.end + AHEAD * (recorded.end - recorded.start)
        self._move(axis.to_axis(recorded.start), axis.to_axis(ahead), is_other=is_other)
        slots = foreseen(rates, int(recorded.start // SLOT), int(ahead // SLOT)) if rates else []
        newer = live_plots(timeline, recorded, slots, self._span)
        if is_other or not refresh(self._shown, newer):
            self._shown = newer
            self.plots.children = [*newer]
        put(self.changes, words.changes_html(timeline.changes, axis.told))
        put(self.holds, words.holds_html(holds_of(recorded), status.interval, axis.told))
        put(self.costs, words.costs_html(costs_of(recorded), recorded.price))

    def clear(self) -> None:
        """Show nothing, until there is something to show of another target."""
        self._shown, self.plots.children = [], [self._waiting]
        for box in (self.changes, self.holds, self.costs):
            box.text = ""

    def _move(self, start: float, end: float, *, is_other: bool) -> None:
        """Move the plots on with the time, unless the reader looks at a part of it."""
        if is_other or (self._span.start, self._span.end) == self._was_set:
            self._span.update(start=start, end=end, reset_start=start, reset_end=end)
            self._was_set = (start, end)


def _seats(status: PolicyStatus) -> int:
    """Return the seats of a pod; 0 if the policy has none, or is one of a newer daemon."""
    try:
        policy = Policy.model_validate(status.settings or {})
    except ValidationError:
        return 0
    return policy.sessions.seats if policy.sessions else 0
