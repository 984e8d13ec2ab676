"""What the page of other servers prints is run, and counts users as the page says."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tornado.httpclient import HTTPClientError

from exporter import cli
from tests.deploy.pages import SERVERS_PAGE, blocks, printed
from tests.exporter.carriers import DJANGO, UVICORN, carried
from tests.lab.bokeh_servers import APP, BIN, Served, free_port, served, wait_until
from tests.lab.websocket_user import Users, token_in

LAUNCH = "bokeh-exporter launch -- "
FASTAPI, FLASK, HUB = "FastAPI", "Flask", "JupyterHub"


def launched() -> list[str]:
    """The printed commands that the launcher starts."""
    return [each.removeprefix(LAUNCH) for each in printed(SERVERS_PAGE) if each.startswith(LAUNCH)]


def fastapi_container() -> Any:
    [text] = blocks(SERVERS_PAGE, "yaml", FASTAPI)
    return yaml.safe_load(text)["containers"][0]


def test_the_arguments_of_the_manifest_are_those_of_the_command() -> None:
    container = fastapi_container()

    assert shlex.join([*container["command"][2:], *container["args"]]) == f"-- {launched()[0]}"


@contextmanager
def running(
    folder: Path, command: str, *, route: str = "/app", port: int = 0, **environment: str
) -> Iterator[Served]:
    """A printed command under the launcher, on this machine's loopback and a free port."""
    port = port or free_port()
    here = command.replace("0.0.0.0", "127.0.0.1").replace("5006", str(port))
    program, *words = shlex.split(here)
    with served(
        folder, [str(BIN / program), *words], port=port, route=route, environment=environment
    ) as server:
        yield server


def count_exactly(server: Served, users: Users) -> None:
    server.wait_workers(1, 60)
    there = [users.join(server.url) for _ in range(3)]
    state = server.state()
    assert (state["quality"], state["sessions"]["connected"]) == ("exact", 3)
    users.leave(there[0])
    wait_until(lambda: server.connected() == 2, "two users left over")


@pytest.fixture
def on_fastapi(tmp_path: Path) -> Path:
    [program] = blocks(SERVERS_PAGE, "python", FASTAPI)
    (tmp_path / "main.py").write_text(program)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("program", ["uvicorn main:app", "gunicorn main:app"])
def test_users_of_the_fastapi_app_are_counted_exactly(on_fastapi: Path, program: str) -> None:
    command = next(each for each in launched() if each.startswith(program))

    with running(on_fastapi, command) as server, Users() as users:
        count_exactly(server, users)


@pytest.mark.slow
def test_pages_of_other_sites_open_no_websocket_of_the_fastapi_app(on_fastapi: Path) -> None:
    with running(on_fastapi, launched()[0]) as server, Users() as users:
        server.wait_workers(1, 60)
        own = server.url.removesuffix("/app")
        users.connect(server.url, token_in(users.get(server.url)), own)
        with pytest.raises(HTTPClientError, match="403"):
            users.connect(server.url, token_in(users.get(server.url)), "https://evil.example")
        assert server.connected() == 1


@pytest.mark.slow
def test_the_fastapi_app_drains_as_the_page_says(on_fastapi: Path) -> None:
    with running(on_fastapi, launched()[0]) as server, Users() as users:
        server.wait_workers(1, 60)
        user = users.join(server.url)
        server.terminate()

        def refuses() -> bool:
            try:
                users.get(server.url)
            except HTTPClientError as error:
                return error.code == 503
            return False

        wait_until(refuses, "new sessions to be refused")
        assert users.get(server.url.replace("/app", "/health")) == '"ok"'
        assert users.is_connected(user)
        assert server.launcher.poll() is None


@pytest.mark.slow
def test_users_of_flask_and_bokeh_in_one_process_are_counted_exactly(tmp_path: Path) -> None:
    if find_spec("flask") is None:
        pytest.skip("NO FLASK: `pip install flask` gets it")
    program = blocks(SERVERS_PAGE, "python", FLASK)[0]
    ports = {"8000": free_port(), "5006": free_port()}
    program = re.sub("|".join(ports), lambda found: str(ports[found[0]]), program)
    (tmp_path / "main.py").write_text(program)
    command = [sys.executable, "main.py"]

    with served(tmp_path, command, port=ports["5006"]) as server, Users() as users:
        count_exactly(server, users)
        assert str(ports["5006"]) in users.get(f"http://127.0.0.1:{ports['8000']}/")


def hub_settings(page: str) -> Any:
    """What a block of Python sets on the configuration of the Hub or of Jupyter."""
    given = SimpleNamespace(JupyterHub=SimpleNamespace(), ServerProxy=SimpleNamespace())
    exec(page, {"c": given})
    return given


@pytest.mark.slow
def test_a_service_of_the_hub_is_served_under_its_path(tmp_path: Path) -> None:
    """The Hub's proxy passes the path on, so the app is where the Hub leads to."""
    settings = hub_settings(blocks(SERVERS_PAGE, "python", HUB)[0])
    [service] = settings.JupyterHub.services
    (tmp_path / "app.py").write_text(APP)
    command = next(each for each in launched() if each.startswith("bokeh serve"))
    path = re.findall(r"--prefix (\S+)", command)
    assert path == [f"/services/{service['name']}"]
    port = free_port()

    with (
        running(tmp_path, f"{command} --port {port}", route=f"{path[0]}/app", port=port) as server,
        Users() as users,
    ):
        count_exactly(server, users)


@pytest.mark.slow
def test_what_the_server_proxy_starts_is_counted_exactly(tmp_path: Path) -> None:
    settings = hub_settings(blocks(SERVERS_PAGE, "python", HUB)[1])
    [(name, started)] = settings.ServerProxy.servers.items()
    port = free_port()
    given = {"port": port, "base_url": "/user/ann/"}
    words = [word.format(**given) for word in started["command"]]
    options = cli.parser().parse_args(words[1:])
    assert options.metrics_port == 9550
    (tmp_path / "app.py").write_text(APP)
    command = shlex.join(options.command[1:])

    with (
        running(tmp_path, command, route=f"/user/ann/{name}/app", port=port) as server,
        Users() as users,
    ):
        count_exactly(server, users)


def of_this_host() -> str:
    """The class of the page, with its import."""
    [program] = blocks(SERVERS_PAGE, "python", FASTAPI)
    [found] = re.findall(r"(class OfThisHost:.*?\n)\n\napp = ", program, re.DOTALL)
    return f"from urllib.parse import urlsplit\n{found}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrapped", "refused"),
    [("", False), ("app = OfThisHost(app)\n", True)],
    ids=["as it is", "in the class of the page"],
)
def test_pages_of_other_sites_open_a_websocket_of_django_unless_it_is_wrapped(
    tmp_path: Path, wrapped: str, refused: bool
) -> None:
    script = f"{of_this_host()}{DJANGO}{wrapped}"
    with carried(tmp_path, script, UVICORN) as server, Users() as users:
        server.wait_workers(1, 60)
        own = server.url.removesuffix("/app")
        users.connect(server.url, token_in(users.get(server.url)), own)
        token = token_in(users.get(server.url))
        if refused:
            with pytest.raises(HTTPClientError, match="403"):
                users.connect(server.url, token, "https://evil.example")
        else:
            users.connect(server.url, token, "https://evil.example")
        assert server.connected() == (1 if refused else 2)
