"""The example app tells each user who serves them."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest
from bokeh.client import ClientSession, pull_session
from bokeh.models import Div

from tests.lab.bokeh_servers import bokeh_serve
from tests.lab.images import ROOT
from tests.lab.processes import wait_until

APP = ROOT / "deploy" / "images" / "example" / "app.py"


def joined(url: str) -> ClientSession | None:
    """A session with its document; None while the server does not listen."""
    try:
        return pull_session(url=url)
    except OSError:
        return None


def told(session: ClientSession) -> str:
    """What the page says of its pod, as the server has it by now."""
    session.pull()
    [where] = session.document.select({"type": Div})
    return str(where.text)


@pytest.mark.slow
def test_the_page_names_its_pod_and_how_many_sessions_that_has(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, app=APP.read_text()) as server:
        first, second = (wait_until(partial(joined, server.url), 30, "the app") for _ in range(2))
        try:
            pod = os.environ.get("HOSTNAME", "this machine")
            said = f"Pod <b>{pod}</b>, 2 sessions"
            time.sleep(3)  # its callback comes every second; a pull in between would undo it
            assert told(first) == said
        finally:
            first.close()
            second.close()
