"""A proxy in front of an API server.

It ends the TLS of both sides with the API server's own certificate.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.lab.control_plane import ControlPlane
from tests.lab.http_proxy import Certificates, HttpProxy, Request, reply

RETRY_AFTER = 3  # seconds; longer than a pass over fifty targets takes on a busy machine


class ApiProxy(HttpProxy):
    """A way to an API server that counts requests, and that tests can cut or silence."""

    def __init__(self, plane: ControlPlane) -> None:
        server = yaml.safe_load(plane.admin.read_text())["clusters"][0]["cluster"]["server"]
        address = urlsplit(server)
        assert address.hostname is not None
        assert address.port is not None
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        folder = plane.certificates
        own.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        theirs = ssl.create_default_context(cafile=folder / "apiserver.crt")
        super().__init__(address.hostname, address.port, Certificates(own, theirs))

    def be_busy(self, is_refused: Callable[[Request], bool]) -> list[Request]:
        """Answer 429 with `Retry-After` to some requests. Return those, now and later."""
        refused: list[Request] = []

        def answer(request: Request) -> bytes | None:
            if not is_refused(request):
                return None
            refused.append(request)
            return reply(429, b"", "text/plain", f"Retry-After: {RETRY_AFTER}")

        self.reply = answer
        return refused

    def kubeconfig(self, original: Path) -> Path:
        """Return a kubeconfig with the same rights that goes through the proxy."""
        content = yaml.safe_load(original.read_text())
        for each in content["clusters"]:
            each["cluster"]["server"] = f"https://{self.host}:{self.port}"
        path = original.with_name(f"{original.name}.{self.port}")
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path
