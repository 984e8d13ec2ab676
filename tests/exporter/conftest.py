"""What tests of agents and collectors share: a name of their own, and each release of Bokeh."""

from __future__ import annotations

import secrets
import sys

import pytest

from tests.lab import newer_bokeh

RELEASES = {"this Bokeh": sys.executable, "Bokeh 3.10": newer_bokeh.given()}


@pytest.fixture
def instance() -> str:
    """The name that keeps a test's agents apart from all others."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(params=RELEASES.values(), ids=RELEASES)
def python(request: pytest.FixtureRequest) -> str:
    """The Python of each release of Bokeh that the agent works with."""
    found: str = request.param
    if not found:
        pytest.skip("BOKEH 3.10 WAS NOT TESTED: `make parts` gets it where a Python 3.12 is")
    return found
