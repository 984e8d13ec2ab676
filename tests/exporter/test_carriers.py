"""Users of Bokeh's sessions are counted exactly, whatever carries them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporter.carriers import DJANGO, GUNICORN, MOUNTED, PANEL_ON_FASTAPI, UVICORN, carried
from tests.lab.bokeh_servers import wait_until
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

CARRIERS = {
    "Panel on FastAPI": (PANEL_ON_FASTAPI, UVICORN, "/app"),
    "Panel on FastAPI without uvloop": (PANEL_ON_FASTAPI, [*UVICORN, "--loop=asyncio"], "/app"),
    "bokeh-fastapi in a mounted app": (MOUNTED, UVICORN, "/inner/app"),
    "Django and Channels": (DJANGO, UVICORN, "/app"),
    "Panel on FastAPI under gunicorn": (PANEL_ON_FASTAPI, GUNICORN, "/app"),
}


@pytest.mark.parametrize(("script", "command", "route"), CARRIERS.values(), ids=CARRIERS)
def test_users_are_counted_from_the_first_to_the_last(
    tmp_path: Path, script: str, command: list[str], route: str
) -> None:
    with carried(tmp_path, script, command, route=route) as server, Users() as users:
        server.wait_workers(1, 60)  # before anybody has come
        assert (server.state()["quality"], server.connected()) == ("exact", 0)
        there = [users.join(server.url) for _ in range(3)]
        wait_until(lambda: server.connected() == 3, "all three to be counted")
        state = server.state()
        assert state["connections"] == {"live": 3, "stale": 0}
        assert state["quality"] == "exact"
        assert state["sessions"]["opening"] == 0
        assert list(state["apps"]) == ["/app"]
        assert server.value('bokeh_sessions_created_total{app="/app"}') == 3
        assert server.value('bokeh_message_duration_seconds_count{app="/app"}') == 3
        for user in there[:2]:
            users.leave(user)
        wait_until(lambda: server.connected() == 1, "one user left over")
        state = server.state()
        assert state["connections"] == {"live": 1, "stale": 0}
        assert state["last_disconnect_age_s"] < 10
        closed = 'bokeh_connections_closed_total{app="/app",code="other"}'
        wait_until(lambda: server.value(closed) == 2, "two closes to be counted")
