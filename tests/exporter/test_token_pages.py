"""With a token a sidecar tells strangers nothing of its users, and the daemon finds its way."""

from __future__ import annotations

import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.commands import connect
from autoscaler.errors import AutoscalerError
from autoscaler.model import Occupancy, Unavailable, Unreachable
from exporter.cli import main
from exporter.doorkeeper import TokenGuard
from exporter.observe import PodObserver
from exporter.sidecar import server
from exporter.tokens import TokenFile
from tests.builders import pod
from tests.lab.processes import free_ports

HERE = pod(ip="127.0.0.1")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


@pytest.fixture(params=[["/state"], ["/state", "/metrics"]], ids=["state", "state and metrics"])
def guarded(request: pytest.FixtureRequest) -> list[str]:
    pages: list[str] = request.param
    return pages


@pytest.fixture
def port(token: Path, guarded: list[str]) -> Iterator[int]:
    instance = f"test-{secrets.token_hex(4)}"
    guard = TokenGuard(TokenFile(token), guarded)
    pages = server(PodObserver(instance, *free_ports(1)), "127.0.0.1", 0, guard)
    pages.start()
    yield pages.port
    pages.close()


def asked(port: int, path: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def is_let_in(said: Occupancy | Unavailable) -> bool:
    """Nothing serves in this pod, and the daemon was told so."""
    return type(said) is Unavailable and said.message.startswith("its sidecar")


def test_only_who_shows_the_token_reads_the_pages(port: int, guarded: list[str]) -> None:
    for path in guarded:
        assert asked(port, path)[0] == 401
        assert asked(port, path, "second")[0] == 401
        assert asked(port, path, "first")[0] == 200
    assert asked(port, "/healthz")[0] == 200
    assert asked(port, "/readyz") == (503, "no Bokeh server is serving yet\n")
    assert asked(port, "/metrics")[0] == (401 if "/metrics" in guarded else 200)


def test_a_refusal_names_the_header_and_no_token(port: int) -> None:
    assert asked(port, "/state", "second") == (
        401,
        "this page requires the header Authorization: Bearer TOKEN\n",
    )


def test_the_daemon_shows_its_token(port: int, token: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("other\n")

    [said] = HttpSidecars(port, TokenFile(token)).occupancy([HERE]).values()
    [wrong] = HttpSidecars(port, TokenFile(other)).occupancy([HERE]).values()
    [none] = HttpSidecars(port).occupancy([HERE]).values()

    assert is_let_in(said)
    assert wrong == none
    assert isinstance(wrong, Unreachable)
    assert wrong.message.endswith("answered HTTP 401; set --sidecar-token-file to its token")


def test_a_new_token_reaches_the_two_sides_in_any_order(
    port: int, token: Path, tmp_path: Path
) -> None:
    daemons = tmp_path / "daemons"
    daemons.write_text("first\n")
    sidecars = HttpSidecars(port, TokenFile(daemons))

    for first, then in ((daemons, token), (token, daemons)):
        new = f"{secrets.token_hex(16)}\n"
        for file in (first, then):
            file.write_text(new)
            [said] = sidecars.occupancy([HERE]).values()
            assert is_let_in(said)


def test_without_a_readable_file_nobody_reads_and_the_probes_go_on(
    port: int, token: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon = HttpSidecars(port, TokenFile(token))
    token.unlink()

    for _ in range(3):
        status, words = asked(port, "/state", "first")
        assert (status, words) == (
            503,
            f"cannot read the token file {token}: No such file or directory; mount its Secret\n",
        )
    assert asked(port, "/healthz")[0] == 200
    assert capfd.readouterr().err == f"bokeh-exporter: {words}"
    [said] = daemon.occupancy([HERE]).values()
    assert isinstance(said, Unreachable)
    assert "was not asked" in said.message

    token.write_text("second\n")
    assert asked(port, "/state", "second")[0] == 200


class Eavesdropper(BaseHTTPRequestHandler):
    """A sidecar that refuses everybody and keeps what it was shown."""

    shown: list[str | None]

    def do_GET(self) -> None:
        self.shown.append(self.headers["Authorization"])
        self.send_error(401)

    def log_message(self, *_: Any) -> None: ...


def test_a_sidecar_that_refuses_everybody_is_shown_each_token_once(token: Path) -> None:
    token.write_text("first\nsecond\n")
    handler = type("Handler", (Eavesdropper,), {"shown": (shown := [])})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        HttpSidecars(listening.server_address[1], TokenFile(token)).occupancy([HERE])
        HttpSidecars(listening.server_address[1]).occupancy([HERE])
        listening.shutdown()
        thread.join()

    assert shown == ["Bearer first", "Bearer second", None]


@pytest.mark.parametrize(
    "words",
    [["sidecar"], ["launch", "--metrics-port=1", "--", "true"]],
    ids=["sidecar", "launch"],
)
@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_sidecar_without_its_file_does_not_start(
    words: list[str],
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = tmp_path / "missing"
    if how == "option":
        words = [words[0], f"--token-file={missing}", *words[1:]]
    else:
        monkeypatch.setenv("BOKEH_EXPORTER_TOKEN_FILE", str(missing))

    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 1
    told = f"cannot read the token file {missing}: No such file or directory; mount its Secret"
    assert capsys.readouterr().err == f"bokeh-exporter: {told}\n"


def test_metrics_alone_cannot_be_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sidecar", "--token-for-metrics"])

    assert "--token-for-metrics needs --token-file" in capsys.readouterr().err


def test_a_daemon_without_its_file_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(AutoscalerError, match="--sidecar-token-file: "):
        connect._token(tmp_path / "missing")
