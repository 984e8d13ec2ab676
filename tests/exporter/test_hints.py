"""What real apps say of their sessions by `exporter.hints`, with the launcher and the sidecar."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.observation import build_observation
from autoscaler.core.decide import decide
from autoscaler.core.notices import due
from autoscaler.model import Occupancy, State
from autoscaler.ports import TargetState
from exporter.agent import hinting
from exporter.tokens import TokenFile
from tests.builders import pod, policy
from tests.deploy.pages import ANSWERS_PAGE, HINTS_PAGE, blocks
from tests.exporter.carriers import DJANGO, MOUNTED, PANEL_ON_FASTAPI, UVICORN, carried
from tests.exporter.notice_pages import post
from tests.lab.bokeh_servers import BIN, QUICK, Served, bokeh_serve, free_port, served, wait_until
from tests.lab.processes import stopped
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-tests"
IMPORT = """
try:
    from exporter import hints
except ImportError:
    hints = None
"""
# Does what it is told: by ?do=CODE while its session is created, and by the message `do` later.
OBEDIENT = f"""
import threading
from datetime import datetime, timedelta

from bokeh.io import curdoc
from bokeh.models import Div
{IMPORT}
document = curdoc()
document.add_root(Div(text="hello"))
for code in document.session_context.request.arguments.get("do", []):
    exec(code)
document.on_message("do", lambda code: exec(code, globals()))
"""
SLOW_TO_REPORT = """
import time
from _bokeh_exporter.agent.worker import Worker
Worker.sample = lambda _: time.sleep(0.05)
"""
NOBODY = {"busy": 0, "may_close": 0, "cost": 0}
HINTED = 'bokeh_sessions_hinted{{app="/app",hint="{}"}}'
RELEASED = 'bokeh_sessions_released_total{app="/app"}'
TAKEN = 'bokeh_seats_taken{app="/app",quality="exact"}'
SOON = ("--reconnect", "1s")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("obedient")
    (folder / "token").write_text(TOKEN)
    environment = {"BOKEH_EXPORTER_TOKEN_FILE": str(folder / "token")}
    with bokeh_serve(folder, *QUICK, app=OBEDIENT, environment=environment) as server:
        server.token = TOKEN
        server.wait_workers(1)
        yield server


@pytest.fixture
def quiet(server: Served) -> Served:
    """The server without sessions of an earlier test."""
    wait_until(lambda: not any(server.state()["sessions"].values()), "earlier sessions to end")
    return server


def hints(server: Served) -> dict[str, int]:
    found: dict[str, int] = server.state()["hints"]
    return found


def await_hints(server: Served, **wanted: int) -> None:
    """The sidecar waits for a busy worker for half a second only, and then knows what it knew."""
    wait_until(lambda: hints(server) == wanted, f"the hints {wanted}")


def close(server: Served, **more: Any) -> dict[str, Any]:
    """Close what may be closed, as the daemon does on a pod that it drains."""
    notice = {"kind": "close", "text": "This server will be stopped.", "seconds": 0, **more}
    return post(server, **notice)


@pytest.mark.parametrize(
    ("page", "given"),
    [
        (HINTS_PAGE, {"busy": 1, "may_close": 1, "cost": 1}),
        (ANSWERS_PAGE, {"busy": 1, "may_close": 0, "cost": 0}),
    ],
    ids=["hints", "answers"],
)
def test_the_code_of_the_page_gives_its_hints(
    tmp_path: Path, page: Path, given: dict[str, int]
) -> None:
    around = "import threading\nfrom bokeh.plotting import curdoc\n\ndef compute():\n    pass\n\n"
    with bokeh_serve(tmp_path, app=around + "\n".join(blocks(page, "python"))) as server:
        server.wait_workers(1)
        with Users() as users:
            users.join(server.url)
            await_hints(server, **given)


def test_a_session_may_be_hinted_while_it_is_created_and_later_and_ends_with_its_hints(
    quiet: Served,
) -> None:
    with Users() as users:
        users.join(quiet.url)
        users.join(quiet.url, do="hints.costs(3.5); hints.may_close()")
        last = users.join(quiet.url)
        await_hints(quiet, busy=0, may_close=1, cost=1)
        assert users.say(last, "do", "hints.costs(2); hints.busy_until(60)") == "OK"
        await_hints(quiet, busy=1, may_close=1, cost=2)
        assert quiet.state()["seats_taken"] == quiet.value(TAKEN) == 6.5
        assert [quiet.value(HINTED.format(hint)) for hint in NOBODY] == [1, 1, 2]
        assert users.say(last, "do", "hints.idle()") == "OK"
    await_hints(quiet, **NOBODY)
    assert isnan(quiet.value(TAKEN))


@pytest.mark.parametrize(
    "when", ["6", "timedelta(seconds=6)", "datetime.now() + timedelta(seconds=6)"]
)
def test_a_busy_session_is_kept_without_a_client_until_its_time_is_over(
    quiet: Served, when: str
) -> None:
    with Users() as users:
        until = time.monotonic() + 3  # six times as long as Bokeh keeps an unused session here
        users.leave(users.join(quiet.url, do=f"hints.busy_until({when})"))
        wait_until(lambda: quiet.state()["sessions"]["blocked"] == 1, "the work without a user")
        while time.monotonic() < until:
            assert quiet.state()["empty_for_s"] is None
            wait_until(lambda: quiet.state()["last_activity_age_s"] < 1, "a sign of the work")
            time.sleep(0.2)
        wait_until(lambda: quiet.state()["empty_for_s"] is not None, "the work to be over")
        wait_until(lambda: not any(quiet.state()["sessions"].values()), "the session to end")


def test_work_that_ends_early_says_so(quiet: Served) -> None:
    told = "hints.busy_until(600); threading.Timer(5, hints.idle, [document]).start()"
    with Users() as users:
        users.leave(users.join(quiet.url, do=told))
        wait_until(lambda: quiet.state()["sessions"]["blocked"] == 1, "the work without a user")
        wait_until(lambda: not any(quiet.state()["sessions"].values()), "the session to end")


def test_in_a_drain_a_busy_session_without_a_client_holds_the_launcher(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, *QUICK, app=OBEDIENT, options=SOON) as server, Users() as users:
        server.wait_workers(1)
        until = time.monotonic() + 5
        users.leave(users.join(server.url, do="hints.may_close(); hints.busy_until(7)"))
        server.terminate()
        while time.monotonic() < until:
            assert server.get("/readyz")[0] == 200, f"the work was broken off: {server.output}"
            time.sleep(0.1)
        assert server.exit_code() == 0


def test_in_a_drain_the_launcher_waits_for_no_session_that_may_be_closed(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, app=OBEDIENT, options=SOON) as server, Users() as users:
        server.wait_workers(1)
        free = users.join(server.url, do="hints.may_close()")
        busy = users.join(server.url, do="hints.may_close(); hints.busy_until(600)")
        held = users.join(server.url)
        server.terminate()
        wait_until(lambda: server.connected() == 2, "the free session to be closed")
        wait_until(free.closed.is_set, "its user to hear of it")
        assert users.stays(busy, 2)
        assert users.is_connected(held)
        wait_until(lambda: server.value(RELEASED) == 1, "the session to be counted")
        assert users.say(busy, "do", "hints.idle()") == "OK"
        assert users.say(held, "do", "hints.may_close(); document.hold()") == "OK"
        wait_until(lambda: server.connected() == 1, "the session that is no longer busy")
        assert users.stays(held, 2)  # its app holds the document, so it is at work
        assert users.say(held, "do", "document.unhold()") == "OK"
        assert server.exit_code() == 0
        assert "cut" not in server.output


def test_without_a_drain_no_session_is_closed_and_a_young_one_waits(quiet: Served) -> None:
    before = quiet.value(RELEASED)
    with Users() as users:
        user = users.join(quiet.url, do="hints.may_close()")
        other = users.join(quiet.url)
        assert users.stays(user, 3)
        assert close(quiet, older_than=600)["took"] == 1
        assert users.stays(user, 2)
        assert users.say(user, "do", "hints.may_close(False)") == "OK"
        close(quiet)
        assert users.stays(user, 3)  # by now its page can say that it is closed
        assert users.say(user, "do", "hints.may_close()") == "OK"
        close(quiet)
        wait_until(user.closed.is_set, "the session to be closed")
        assert users.stays(other, 1)
    wait_until(lambda: quiet.value(RELEASED) == before + 1, "the session to be counted")
    assert quiet.value('bokeh_sessions_lost_total{app="/app"}') == 0


LOOP_OF_ITS_OWN = """
import asyncio
async def speak():
    hints.may_close()
thread = threading.Thread(target=lambda: asyncio.run(speak()))
thread.start()
thread.join()
"""
AFTER_AN_AWAIT = """
import asyncio
async def work():
    await asyncio.sleep(0.1)
    hints.idle()
task = asyncio.get_running_loop().create_task(work())
"""
LATE_THREAD = "threading.Timer(0.5, hints.may_close).start()"
MISTAKES = {
    AFTER_AN_AWAIT: "hints.idle: called outside of a session, expected document=DOCUMENT there",
    LATE_THREAD: "hints.may_close: called outside of a session, expected document=DOCUMENT there",
    LOOP_OF_ITS_OWN: "hints.may_close: called in a thread, expected document=DOCUMENT there",
    "hints.costs(0)": "hints.costs: expected more than 0 and at most 1000 seats, not 0",
    "hints.costs(1e9)": "not 1000000000.0",
    "hints.costs(float('nan'))": "not nan",
    "hints.costs('two')": "expected a number of seats, not 'two'",
    "hints.costs(True)": "expected a number of seats, not True",
    "hints.busy_until(-1)": "expected a time from now on, not -1",
    "hints.busy_until(float('nan'))": "expected a time from now on, not nan",
    "hints.busy_until(None)": "expected seconds from now, a timedelta or a datetime, not NoneType",
    "hints.may_close('no')": "hints.may_close: expected True or False, not 'no'",
    "hints.may_close(type('Table', (), {'__repr__': lambda _: 'a' + chr(10) + 'b' * 9999})())": (
        r"hints.may_close: expected True or False, not a\nbbb"
    ),
    "hints.costs(2, document=7)": "expected a Document, not int",
    "t = threading.Thread(target=hints.costs, args=[2]); t.start(); t.join()": (
        "hints.costs: called in a thread, expected document=DOCUMENT there"
    ),
}


@pytest.mark.parametrize("call", MISTAKES)
def test_a_mistake_is_one_line_in_the_log_and_no_hint(quiet: Served, call: str) -> None:
    with Users() as users:
        user = users.join(quiet.url)
        for _ in range(3):
            assert users.say(user, "do", call) == "OK"
        wait_until(lambda: MISTAKES[call] in quiet.output, "the line")
        await_hints(quiet, **NOBODY)
    lines = [line for line in quiet.output.splitlines() if MISTAKES[call] in line]
    assert len(lines) == 1
    assert len(lines[0]) < 400


def test_more_than_a_day_of_work_is_taken_as_a_day(quiet: Served) -> None:
    with Users() as users:
        user = users.join(quiet.url, do="hints.busy_until(timedelta(days=400))")
        wait_until(lambda: hints(quiet)["busy"] == 1, "the hint")
        wait_until(lambda: "is more than a day from now" in quiet.output, "the line")
        assert users.say(user, "do", "hints.idle()") == "OK"


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (90, 90.0),
        (timedelta(minutes=2), 120.0),
        (datetime.now(UTC) + timedelta(days=400), 86_400.0),
        (1_800_000_000.0, 86_400.0),
        (float("inf"), 86_400.0),
        (datetime(2020, 1, 1, tzinfo=UTC), 0.0),
        (0, 0.0),
    ],
)
def test_work_lasts_for_a_day_at_most(when: Any, seconds: float) -> None:
    before = time.monotonic()
    until = hinting.busy_until(when)
    assert before + seconds <= until <= time.monotonic() + seconds


PANEL = f"""
import panel as pn
{IMPORT}
pn.extension(nthreads=2)
hints.costs(4)
pn.pane.Markdown("hello").servable()
threads = lambda _: pn.state.execute(lambda: hints.busy_until(600), schedule="thread")
pn.state.curdoc.on_message("work", threads)
"""


def test_panel_tells_in_its_threads_too_which_session_speaks(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text(PANEL)
    command = [str(BIN / "panel"), "serve", "app.py", "--port", str(port)]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1)
        working, _ = users.join(server.url), users.join(server.url)
        assert users.say(working, "work", None) == "OK"
        await_hints(server, busy=1, may_close=0, cost=2)
        assert server.state()["seats_taken"] == 8


CARRIERS = {
    "Panel on FastAPI": (PANEL_ON_FASTAPI, "def view():", "/app"),
    "bokeh-fastapi": (MOUNTED, "def page(document):", "/inner/app"),
    "Django": (DJANGO, "def page(doc):", "/app"),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_apps_on_other_servers_have_hints_too(name: str, tmp_path: Path) -> None:
    script, function, route = CARRIERS[name]
    which = "" if name == "Panel on FastAPI" else function.partition("(")[2].rstrip("):")
    given = f"document={which or None}"
    told = f"{function}\n    hints.costs(3, {given})\n    hints.may_close({given})"
    script = IMPORT + script.replace(function, told)
    with carried(tmp_path, script, UVICORN, route=route) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        await_hints(server, busy=0, may_close=1, cost=1)
        assert server.state()["seats_taken"] == 3
        server.terminate()
        wait_until(user.closed.is_set, "the session to be closed in the drain")


def test_an_app_runs_without_the_agent(tmp_path: Path) -> None:
    """As `bokeh serve` alone, and as a script: both where the package is and where it is not."""
    (tmp_path / "app.py").write_text(IMPORT + "hints and (hints.costs(-1), hints.may_close(3))\n")
    for options in ([], ["-S"]):
        line = [sys.executable, *options, "app.py"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == done.stderr == ""


def test_an_app_with_a_module_called_exporter_finds_the_hints_by_the_private_name(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "exporter.py").write_text("WHO = 'the application'\n")
    imports = f"import sys; sys.path.insert(0, {str(own)!r})\nimport exporter\n"
    script = OBEDIENT.replace(IMPORT, f"{imports}from _bokeh_exporter import hints\n")
    with bokeh_serve(tmp_path, app=script) as server, Users() as users:
        server.wait_workers(1)
        users.join(server.url, do="assert exporter.WHO == 'the application'; hints.costs(2)")
        await_hints(server, busy=0, may_close=0, cost=1)


@pytest.mark.prometheus
def test_the_daemon_scales_by_the_seats_that_a_real_app_names(
    quiet: Served, start_prometheus: Callable[..., PrometheusServer]
) -> None:
    """From the call in the app over its agent, the sidecar and Prometheus to a recommendation."""
    where = {"namespace": "bokeh", "pod": "pod-0"}
    targets = [(quiet.sidecar_url.removeprefix("http://"), where)]
    prometheus = start_prometheus(targets=targets, scrape_interval=1.0)
    rules = policy()
    target = TargetState(rules.target.ref, "uid", "1", 1, 1, (pod(),))
    source = PrometheusSource(PrometheusSettings(prometheus.url, timeout=5.0))

    def decided() -> tuple[int | None, str]:
        readings = source.read([("sessions", "exporter")], [], time.time())
        observed = build_observation(rules, target, readings)
        decision, _ = decide(rules, observed, State(seen_at=time.time() - 5), time.time())
        [asked] = decision.recommendations
        return asked.replicas, asked.detail

    with Users() as users:
        users.join(quiet.url)
        wait_until(lambda: decided()[1].startswith("sessions: (1 connected"), "the first scrape")
        users.join(quiet.url, do="hints.costs(24.5)")
        wanted = (3, "sessions: (26 seats taken + 0 spare) / 10 seats")
        wait_until(lambda: decided() == wanted, "the seats")


def test_the_daemon_has_pages_closed_and_leaves_young_sessions(
    quiet: Served, tmp_path: Path
) -> None:
    """By its client of the sidecars, and by what a policy asks for on a draining pod."""
    (tmp_path / "token").write_text(TOKEN)
    port = int(quiet.sidecar_url.rpartition(":")[2])
    sidecars = HttpSidecars(port, TokenFile(tmp_path / "token"))
    draining = pod(ip="127.0.0.1", routable=False)
    with Users() as users:
        user = users.join(quiet.url, do="hints.may_close()")
        users.join(quiet.url)

        def told() -> Occupancy | None:
            said = sidecars.occupancy([draining])[draining.uid]
            return said if isinstance(said, Occupancy) and said.live == 2 else None

        said = wait_until(told, "both users to be told")
        assert (said.may_close, said.empty_for) == (1, None)
        [asked] = due(policy(), [replace(draining, occupancy=said)], time.time())
        assert sidecars.notify(asked.pods, asked.notice) == {draining.uid: 2}
        assert users.stays(user, 6)
        assert sidecars.notify(asked.pods, {**asked.notice, "older_than": 0}) == {draining.uid: 2}
        wait_until(user.closed.is_set, "the session to be closed")


def test_pages_that_close_at_once_count_among_those_that_were_told(tmp_path: Path) -> None:
    """Although the agent counts for its report only when they are gone."""
    (tmp_path / "token").write_text(TOKEN)
    environment = {"BOKEH_EXPORTER_TOKEN_FILE": str(tmp_path / "token")}
    app = OBEDIENT + SLOW_TO_REPORT
    with bokeh_serve(tmp_path, app=app, environment=environment) as server, Users() as users:
        server.token = TOKEN
        server.wait_workers(1)
        user = users.join(server.url, do="hints.may_close()")
        assert users.stays(user, 5)  # a page that has just been loaded is not closed
        assert close(server)["sessions"] == 1
        wait_until(user.closed.is_set, "the session to be closed")


def test_every_worker_of_a_server_takes_hints_and_closes_what_it_may(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "3", app=OBEDIENT, options=SOON) as server:
        server.wait_workers(3)
        with Users() as users:
            free = [
                users.join(server.url, do="hints.may_close(); hints.costs(2)") for _ in range(6)
            ]
            held = users.join(server.url)
            await_hints(server, busy=0, may_close=6, cost=6)
            assert server.state()["seats_taken"] == 13
            server.terminate()
            wait_until(lambda: server.connected() == 1, "six sessions to be closed")
            wait_until(lambda: all(each.closed.is_set() for each in free), "users to hear of it")
            assert users.is_connected(held)
            wait_until(lambda: server.value(RELEASED) == 6, "six sessions to be counted")
            users.leave(held)
            assert server.exit_code() == 0


def test_every_release_of_bokeh_keeps_a_busy_session_and_closes_one_that_may_be(
    tmp_path: Path, python: str
) -> None:
    (tmp_path / "app.py").write_text(OBEDIENT)
    port = free_port()
    command = [python, "-m", "bokeh", "serve", "app.py", "--port", str(port), *QUICK]
    with served(tmp_path, command, port=port, options=SOON) as server, Users() as users:
        server.wait_workers(1)
        users.leave(users.join(server.url, do="hints.busy_until(15)"))
        free = users.join(server.url, do="hints.may_close()")
        server.terminate()
        wait_until(free.closed.is_set, "the session to be closed")
        # The server hears a moment after the user that the connection has ended.
        wait_until(lambda: server.state()["sessions"]["blocked"] == 1, "one session to be left")
        assert server.exit_code() == 0


def test_one_worker_that_hangs_keeps_the_hints_that_it_gave(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, app=OBEDIENT) as server, Users() as users:
        (worker,) = server.wait_workers(1)
        users.join(server.url, do="hints.costs(5)")
        wait_until(lambda: server.state()["seats_taken"] == 5, "the hint")
        with stopped(worker["pid"]):
            assert server.state()["seats_taken"] == 5
