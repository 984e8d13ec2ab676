"""`autoscaler dashboard`: who may open its WebSocket, and what is said where it is not served."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from autoscaler.cli import main

NOBODY = "http://127.0.0.1:1"
WORDS = ["dashboard", "--url", NOBODY, "--prometheus", NOBODY]
FORBIDDEN = 403


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The address of a dashboard whose daemon and Prometheus do not answer."""
    command = [sys.executable, "-um", "autoscaler.cli", *WORDS, "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+\S*/", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.kill()


def answer(url: str, origin: str) -> int:
    """The status with which a WebSocket is answered that a page of this origin opens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    headers = {"Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket"}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    headers["Sec-WebSocket-Protocol"] = "bokeh, token"
    connection.request("GET", f"{parts.path}ws", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "origin", "is_admitted"),
    [
        ([], "own", True),
        ([], "https://evil.example", False),
        (["--allow-origin", "tools.example.com"], "https://tools.example.com", True),
        (["--allow-origin", "tools.example.com"], "https://evil.example", False),
    ],
    ids=["its own page", "another site", "the site of a proxy", "another one than the proxy's"],
)
def test_only_its_own_page_opens_its_websocket(
    options: list[str], origin: str, is_admitted: bool
) -> None:
    with served("--prefix", "/autoscaler", *options) as url:
        own = f"http://{urlsplit(url).netloc}"
        assert (answer(url, own if origin == "own" else origin) != FORBIDDEN) is is_admitted


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--listen", "here"], 2, "'here': expected [HOST]:PORT"),
        (["--prefix", "autoscaler"], 2, "'autoscaler': expected a path, such as /autoscaler"),
        (["--timezone", "Mars/Base"], 2, "'Mars/Base': expected a time zone name"),
        (["--prometheus", "prometheus:9090"], 2, "expected an address with http:// or https://"),
        (["--url", "daemon"], 2, "'daemon': expected an address with http:// or https://"),
        (["--prometheus-username", "me"], 1, "basic authentication needs both"),
    ],
    ids=[
        "an address",
        "a prefix",
        "a time zone",
        "no address of Prometheus",
        "none of the daemon",
        "half of the credentials",
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    options: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended: object = main([*WORDS, *options])
    except SystemExit as usage:
        ended = usage.code

    assert ended == code
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "autoscaler.cli", *WORDS, "--listen", place]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    told = f"cannot listen on {place}: Address already in use; set another --listen\n"
    assert ended.stderr == f"autoscaler dashboard: {told}"
