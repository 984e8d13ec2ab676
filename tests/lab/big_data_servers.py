"""The service and the app of deploy/examples/big-data as they run: uvicorn, and our launcher."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.lab.bokeh_servers import Served, end, free_port, served, wait_until
from tests.lab.images import ROOT

EXAMPLE = ROOT / "deploy" / "examples" / "big-data"
START = 180.0  # seconds; it takes 6 where nothing else runs, and 100 where twenty others do


@dataclass(frozen=True)
class Answer:
    """What came over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> str:
        """The sentence of an RFC 9457 answer; fails if it is none."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        content = self.json()
        assert content["status"] == self.status
        assert set(content) == {"type", "title", "status", "detail"}
        return str(content["detail"])


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str

    def get(self, page: str, headers: Mapping[str, str] = {}, **query: str) -> Answer:
        return self.request("GET", f"{page}?{urlencode(query)}", headers)

    def request(self, method: str, target: str, headers: Mapping[str, str] = {}) -> Answer:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, target, headers=dict(headers))
            answer = connection.getresponse()
            received = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, received, answer.read())
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False


def environment(**variables: str | Path) -> dict[str, str]:
    return {name: str(value) for name, value in variables.items()}


@contextmanager
def service(python: str, folder: Path, port: int = 0) -> Iterator[Service]:
    """The FastAPI service for the points of a folder."""
    port = port or free_port()
    command = [python, "-m", "uvicorn", "big_data.service:app", "--port", str(port)]
    variables = {**os.environ, **environment(BIG_DATA_FOLDER=folder)}
    with (folder.parent / f"service-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=EXAMPLE, env=variables, stdout=log, stderr=log)
    started = Service(f"http://127.0.0.1:{port}")
    try:
        wait_until(started.answers, "the service", START)
        yield started
    finally:
        end(process)


@contextmanager
def app(python: str, folder: Path, **variables: str) -> Iterator[Served]:
    """The Panel app for the points of a folder, with its sidecar."""
    port = free_port()
    command = [python, "-m", "panel", "serve", str(EXAMPLE / "app.py"), "--port", str(port)]
    command += ["--setup", str(EXAMPLE / "warm.py")]
    # Not from the example's folder: `served` writes its log where it starts.
    path = environment(BIG_DATA_FOLDER=folder, PYTHONPATH=EXAMPLE, **variables)
    with served(folder.parent, command, port=port, environment=path) as started:
        wait_until(lambda: started.get("/readyz")[0] == 200, "the app", START)
        yield started


def make(
    python: str, folder: Path, *options: str, quiet: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the generator. quiet: what it says is in the result instead of on the terminal."""
    command = [python, "-m", "big_data.make", str(folder), *options]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=quiet, text=True, check=False)
