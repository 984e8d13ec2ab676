"""A token that is rotated while the daemon runs: no request fails by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.core.lease import Place
from autoscaler.errors import ForbiddenError

PLACE = Place("bokeh", "bokeh-autoscaler-0")


class Server(BaseHTTPRequestHandler):
    """Knows one token. It answers everything else with 401."""

    token = ""
    asked = 0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        type(self).asked += 1
        is_known = self.headers["Authorization"] == f"Bearer {self.token}"
        found = {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": "me"}}
        answer = json.dumps(found if is_known else {"message": "Unauthorized"}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file with the token."""
    file = tmp_path / "token"
    file.write_text("first")
    Server.token, Server.asked = "first", 0
    return file


@pytest.fixture
def leases(token: Path, tmp_path: Path) -> Iterator[KubernetesLeases]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{"name": "me", "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "current-context": "it",
        }
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(content))
        api = KubernetesCluster.connect(kubeconfig).api
        yield KubernetesLeases(api, PLACE.namespace, "bokeh-autoscaler")
        server.shutdown()


def test_a_token_that_was_rotated_is_read_again(leases: KubernetesLeases, token: Path) -> None:
    assert leases.read(PLACE)
    token.write_text("second")
    Server.token = "second"

    for _ in range(3):
        found = leases.read(PLACE)
        assert found is not None
        assert found.holder == "me"
    assert Server.asked == 1 + 2 + 2, "one of them twice, and the others once"


@pytest.mark.parametrize("content", ["first", "", None], ids=["old", "empty", "missing"])
def test_a_token_that_is_not_valid_is_tried_once_more_at_most(
    leases: KubernetesLeases, token: Path, content: str | None
) -> None:
    Server.token = "second"
    if content is None:
        token.unlink()
    else:
        token.write_text(content)

    with pytest.raises(ForbiddenError, match="check the credentials"):
        leases.read(PLACE)
    assert Server.asked <= 2
