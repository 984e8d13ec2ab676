"""The types of fields that are written in a notation of their own, such as `5m` and `70%`.

The notations are in `autoscaler.units`, which the command line reads without these types.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from autoscaler.units import (
    Day,
    Share,
    clock,
    days,
    deadline,
    duration_text,
    percent,
    percent_text,
    ratio,
    seconds,
    share,
    whole_percent,
)

Duration = Annotated[
    float,
    BeforeValidator(seconds),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 2,
            "pattern": r"^(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$",
            "examples": ["30s", "5m", "1h30m"],
        }
    ),
]
_PERCENT_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["70%", "0.1%"]}
)
Percent = Annotated[
    float,
    BeforeValidator(percent),
    PlainSerializer(percent_text, when_used="json"),
    _PERCENT_SCHEMA,
]
WholePercent = Annotated[
    float,
    BeforeValidator(whole_percent),
    PlainSerializer(percent_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^[1-9]\d*(\.0+)?\s*%$", "examples": ["70%"]}),
]
SpareShare = Annotated[
    Share,
    PlainValidator(share),
    PlainSerializer(lambda value: percent_text(value.percent), when_used="json"),
    _PERCENT_SCHEMA,
]
Ratio = Annotated[
    float,
    BeforeValidator(ratio),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?m?$"},
            ],
            "examples": [0.1, "100m"],
        }
    ),
]
ClockTime = Annotated[
    time,
    BeforeValidator(clock),
    PlainSerializer(lambda value: value.strftime("%H:%M"), when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$", "examples": ["08:00"]}
    ),
]
Deadline = Annotated[
    float | None,
    BeforeValidator(deadline),
    PlainSerializer(
        lambda value: "never" if value is None else duration_text(value), when_used="json"
    ),
    WithJsonSchema({"type": "string", "examples": ["never", "4h"]}),
]
Days = Annotated[
    tuple[Day, ...],
    BeforeValidator(days),
    WithJsonSchema(
        {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "examples": ["mon-fri", "sat,sun", ["mon", "wed"]],
        }
    ),
]
