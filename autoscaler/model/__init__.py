"""The values that everything else speaks in: frozen, comparable, free of any client library.

`decide` takes an `Observation` and a `State` and gives a `Decision` and the next `State`. Times are
Unix seconds (float), durations seconds. A value that is not known is None or absent: missing is
never zero.
"""

from autoscaler.model.decision import Confirmation, Decision, DrainPlan, Recommendation, Step
from autoscaler.model.observed import (
    BEGINNING_STEP,
    Cause,
    Cordon,
    Observation,
    Occupancy,
    PodMarks,
    PodState,
    Resources,
    Sample,
    TargetRef,
    Unavailable,
    Unreachable,
)
from autoscaler.model.reasons import Reason
from autoscaler.model.seats import Line, PodLoad, SeatEstimate, Seats
from autoscaler.model.state import (
    Ages,
    Arrivals,
    Average,
    Departing,
    Logged,
    Profile,
    Removal,
    Reset,
    Score,
    Shortage,
    Sighting,
    Slot,
    Starts,
    State,
    Stays,
    Traffic,
)

__all__ = [
    "BEGINNING_STEP",
    "Ages",
    "Arrivals",
    "Average",
    "Cause",
    "Confirmation",
    "Cordon",
    "Decision",
    "Departing",
    "DrainPlan",
    "Line",
    "Logged",
    "Observation",
    "Occupancy",
    "PodLoad",
    "PodMarks",
    "PodState",
    "Profile",
    "Reason",
    "Recommendation",
    "Removal",
    "Reset",
    "Resources",
    "Sample",
    "Score",
    "SeatEstimate",
    "Seats",
    "Shortage",
    "Sighting",
    "Slot",
    "Starts",
    "State",
    "Stays",
    "Step",
    "TargetRef",
    "Traffic",
    "Unavailable",
    "Unreachable",
]
