"""A page of FastAPI or Django, which no `bokeh serve` started: the fixes are for its server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.adapters.visitor import Visit
from autoscaler.doctor.facts import Facts
from tests.doctor.set_ups import found

URL = "https://dashboards.example.com/app"
# A token of five minutes, a refused origin, and a timeout after twenty seconds.
SEEN = Visit(URL, status=200, place=URL, is_bokeh=True, token_lasts=300.0, refused=403, idle_end=20)
OTHERS = {
    "uvicorn": "--ws-ping-interval=8 ",
    "hypercorn-h11": "--websocket-ping-interval=8 ",
    "daphne": "--ping-interval=8 ",
}


def fixes(server: str) -> dict[str, str]:
    visit = replace(SEEN, server=server)
    return {name: each.fix for name, each in found(Facts(visit=visit)).items()}


@pytest.mark.parametrize("server", OTHERS)
def test_no_option_of_bokeh_serve_is_named_for_another_server(server: str) -> None:
    said = fixes(server)

    assert "docs/servers.md, FastAPI" in said["token-expires-early"]
    assert "docs/servers.md, FastAPI" in said["websocket-origin-refused"]
    assert OTHERS[server] in said["idle-timeout"]
    assert "bokeh, serve" not in said["websocket-origin-refused"] + said["idle-timeout"]


@pytest.mark.parametrize("server", ["TornadoServer/6.5", "nginx", ""])
def test_the_options_of_bokeh_serve_are_named_where_no_other_server_is_seen(server: str) -> None:
    said = fixes(server)

    assert said["token-expires-early"].startswith("args: [bokeh, serve, ")
    assert "--allow-websocket-origin=dashboards.example.com" in said["websocket-origin-refused"]
    assert "--keep-alive=8000" in said["idle-timeout"]
