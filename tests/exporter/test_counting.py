"""Counting real users of real Bokeh servers, whatever the workers do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.exporter.servers import bokeh_serve, wait_until
from tests.websocket_user import Users

pytestmark = pytest.mark.slow


def test_sessions_are_counted_over_all_workers(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "4") as server, Users() as users:
        server.wait_workers(4)
        there = [users.join(server.url) for _ in range(12)]
        state = server.state()
        assert state["sessions"]["connected"] == 12
        assert state["connections"] == {"live": 12, "stale": 0}
        # The page and its WebSocket reach the same worker only by chance; the copies are not users.
        assert state["sessions"]["lingering"] > 0
        assert state["apps"]["/app"]["connected"] == 12
        for user in there[:5]:
            users.leave(user)
        wait_until(lambda: server.connected() == 7, "seven users left over")
        assert server.state()["last_disconnect_age_s"] < 5
        assert server.value('bokeh_sessions{app="/app",quality="exact",state="connected"}') == 7
        assert server.value('bokeh_connections_closed_total{app="/app",code="1000"}') == 5


def test_a_killed_worker_leaves_the_count_at_once_and_the_totals_stay(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server, Users() as users:
        workers = server.wait_workers(2)
        for _ in range(8):
            users.join(server.url)
        opened = 'bokeh_connections_opened_total{app="/app"}'
        assert server.value(opened) == 8
        before = {w["pid"]: w for w in server.state()["workers"]}
        os.kill(workers[0]["pid"], signal.SIGKILL)
        wait_until(lambda: server.connected() < 8, "the dead worker's users to leave the count")
        after = server.state()
        assert workers[0]["pid"] not in {w["pid"] for w in after["workers"]}
        assert set(before) >= {workers[1]["pid"]}
        assert after["last_disconnect_age_s"] < 5
        assert server.value(opened) == 8
        server.wait_workers(2)  # Tornado starts it anew, in the same slot
        assert server.value("bokeh_up") == 1
