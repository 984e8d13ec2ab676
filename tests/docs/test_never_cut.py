"""The page of the claim says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from autoscaler.core import drain
from autoscaler.journal import HOLDS
from autoscaler.policy import Drain
from autoscaler.quantities import duration_text
from autoscaler.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "never-cut.md"
TEXT = PAGE.read_text()


def test_links_lead_somewhere_and_the_readme_leads_here() -> None:
    for link in re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", TEXT):
        assert (PAGE.parent / link).exists(), link
    first_claim = (ROOT / "README.md").read_text().partition("\n* ")[2].partition("\n")[0]
    assert "[only by pods that are known to hold no session](docs/never-cut.md)" in first_claim


def test_every_doubt_has_a_row() -> None:
    for reason in HOLDS:
        assert f"`{re.sub('Get.*Metric', 'Get…Metric', reason)}`" in TEXT


def test_the_diagram_is_the_one_above_the_code() -> None:
    (diagram,) = re.findall(r"```\n(serving.*?)```", TEXT, re.DOTALL)
    assert [line.strip() for line in diagram.splitlines()] == [
        line.strip() for line in (drain.__doc__ or "").splitlines()[2:5]
    ]


def test_the_metrics_are_there() -> None:
    registry = Telemetry().registry
    there = {metric.name for metric in registry.collect()}
    for name in re.findall(r"`(bokeh_autoscaler_\w+)", TEXT):
        assert name.removesuffix("_total") in there


def test_the_defaults_are_the_ones_of_the_policy() -> None:
    times = (duration_text(Drain().settle), duration_text(Drain().reconnect))
    assert f"| `{times[0]}`, `{times[1]}` |" in TEXT
