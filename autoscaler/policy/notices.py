"""Which unused pages are asked before they are closed, and in what words."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from autoscaler.policy.fields import Model, duration_field
from autoscaler.policy.notations import Duration
from autoscaler.units import duration_text
from exporter.agent.notice import (
    ASK,
    LEAST_SECONDS,
    LONGEST_LABEL,
    LONGEST_TEXT,
    MOST_SECONDS,
    is_readable,
)

# Below, users who read a page would be asked all the time.
LEAST_IDLE = 60.0


def _printable(value: str) -> str:
    if not is_readable(value):
        raise ValueError("expected printable characters on one line")
    return value


def waiting(value: float) -> float:
    """Return for how long a question may wait. Raises ValueError."""
    least, most = LEAST_SECONDS[ASK], MOST_SECONDS
    if not least <= value <= most:
        raise ValueError(f"expected {duration_text(least)} to {duration_text(most)}")
    return value


Text = Annotated[
    str, Field(strict=True, min_length=1, max_length=LONGEST_TEXT), AfterValidator(_printable)
]
ButtonText = Annotated[
    str, Field(strict=True, min_length=1, max_length=LONGEST_LABEL), AfterValidator(_printable)
]


class Idle(Model):
    """Which pages are unused: their users are asked, and without an answer they are closed."""

    after: Duration = Field(
        description="Ask the user of a page that nobody has used for this time."
    )
    notice: Annotated[Duration, AfterValidator(waiting)] = duration_field(
        300.0, "Time for which the question waits before the page is closed."
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Idle:
        if not LEAST_IDLE <= self.after <= MOST_SECONDS:
            shown = duration_text(LEAST_IDLE), duration_text(MOST_SECONDS)
            raise ValueError(f"expected after from {shown[0]} to {shown[1]}")
        return self


class NoticeTexts(Model):
    """What users read in their pages before and after a page is closed."""

    idle: Text = Field(
        default="Nobody has used this page for a while. It will be closed unless you stay.",
        description="Question to the user of a page that is unused for `idle.after`.",
    )
    deadline: Text = Field(
        default="This server will be stopped. This page will be closed unless you stay.",
        description="Question to the users of a draining pod before `drain.deadline`.",
    )
    hard_deadline: Text = Field(
        default="This server will be stopped. Save your work and load the page again.",
        description="Announcement to the users of a draining pod before `drain.hardDeadline`.",
    )
    stay: ButtonText = Field(default="Stay", description="Button that answers a question.")
    closed: Text = Field(
        default="This page was closed because nobody used it.",
        description="Text in a page that was closed.",
    )
    drained: Text = Field(
        default="This server will be stopped. Load the page again to go on.",
        description="Text in a page of a draining pod that was closed because its app allows it.",
    )
    reload: ButtonText = Field(
        default="Reload", description="Button that loads a closed page again."
    )
