"""The check for known vulnerabilities never passes unless a database answered for every package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.supply_chain.audit import LOCKED, ROOT, pins, rounds

Asked = list[tuple[str, str]]
# As OSV describes it; fields that pip-audit does not read are left out.
ADVISORY = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1234"],
    "summary": "A header without an end",
    "affected": [
        {
            "package": {"name": "h11", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0.1"}]}],
        }
    ],
}


@contextmanager
def database(answer: Callable[[str], tuple[int, Any]]) -> Iterator[tuple[str, Asked]]:
    """A server with OSV's way of asking. Its address, and the packages that it was asked for."""
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert query["package"]["ecosystem"] == "PyPI"
            asked.append((query["package"]["name"], query["version"]))
            code, content = answer(query["package"]["name"])
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    finally:
        server.shutdown()
        server.server_close()


def audit(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.supply_chain.audit"],
        cwd=ROOT,
        env={**os.environ, "OSV_URL": address, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
class TestAudit:
    def test_asks_for_every_package_that_is_locked_for_any_python(self) -> None:
        with database(lambda _: (200, {})) as (address, asked):
            done = audit(address)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"audit: {len(asked)} packages, 0 known vulnerabilities\n"
        assert {(name, version) for name, version in asked} == {
            (name.lower().replace("_", "-").replace(".", "-"), version)
            for name, version in pins(LOCKED)
        }

    def test_names_the_vulnerability_and_the_version_without_it(self) -> None:
        def answer(name: str) -> tuple[int, Any]:
            return 200, {"vulns": [ADVISORY]} if name == "h11" else {}

        with database(answer) as (address, _):
            done = audit(address)

        assert done.returncode == 1
        first, last = done.stdout.splitlines()
        assert first == "h11 0.16.0: PYSEC-2026-1, CVE-2026-1234; fixed in 99.0.1"
        assert last.endswith("packages, 1 known vulnerabilities")

    def test_says_in_one_line_that_nobody_answers(self) -> None:
        with database(lambda _: (200, {})) as (address, _):
            pass  # its port is free again

        done = audit(address)

        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("audit: NOT CHECKED, no advisory database answered: ")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("code", [404, 503])
    def test_does_not_pass_if_one_answer_is_missing(self, code: int) -> None:
        def answer(name: str) -> tuple[int, Any]:
            return (code if name == "yarl" else 200), {}

        with database(answer) as (address, _):
            done = audit(address)

        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.count("\n") == 1


def test_two_versions_of_a_package_are_asked_for_in_two_rounds() -> None:
    packages = {("bokeh", "3.9.2"), ("bokeh", "3.10.2"), ("h11", "0.16.0")}

    assert rounds(packages) == [{"bokeh": "3.10.2", "h11": "0.16.0"}, {"bokeh": "3.9.2"}]
