"""A real CoreDNS with a zone that a test rewrites, as Kubernetes does with its Services."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.lab.build import COREDNS, installed
from tests.lab.processes import Processes, free_ports
from tests.proxies.fleet import PORT

DOMAIN = "bokeh.svc.test"
ROUTABLE, ALL = "sticky-routable", "sticky-all"
# Every record lives a second; one that is missing does, too.
HEAD = "@ 1 IN SOA ns admin {serial} 60 60 60 1\n@ 1 IN NS ns\n"
COREFILE = """.:{port} {{
    bind 127.0.0.1
    file {zone} {domain} {{
        reload 100ms
    }}
}}
"""


def service(name: str, addresses: Sequence[str]) -> str:
    """The records of a headless Service: its pods together, each by its name, and the ports."""
    lines = []
    for address in addresses:
        pod = f"{address.replace('.', '-')}.{name}"
        lines += [f"{name} 1 IN A {address}", f"{pod} 1 IN A {address}"]
        lines += [f"_http._tcp.{name} 1 IN SRV 0 10 {PORT} {pod}"]
    return "\n".join(lines) + "\n"


class NameServer:
    """It ends with its `processes`. `resolv_conf` is what a pod would find in /etc."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        (self._port,) = free_ports(1)
        self._zone = folder / "zone"
        self._serial = itertools.count(1)
        self._processes = processes
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(
            f"search {DOMAIN} svc.test\nnameserver 127.0.0.1:{self._port}\n"
        )
        corefile = COREFILE.format(port=self._port, zone=self._zone, domain=DOMAIN)
        (folder / "Corefile").write_text(corefile)

    def start(self, routable: Sequence[str], everyone: Sequence[str]) -> None:
        """Start with the pods of the two Services."""
        self.publish(routable, everyone)
        self.run()

    def run(self) -> None:
        program = installed(COREDNS)
        assert program is not None
        config = self._zone.parent / "Corefile"
        self._processes.start("coredns", [program / "coredns", "-conf", config])
        self._processes.await_ready(self._listens, 20, "CoreDNS")

    def stop(self) -> None:
        self._processes.stop("coredns")

    def publish(self, routable: Sequence[str], everyone: Sequence[str]) -> None:
        """New pods, which are known a second or two later."""
        records = [HEAD.format(serial=next(self._serial))]
        records += [service(ROUTABLE, routable), service(ALL, everyone)]
        partial = self._zone.with_suffix(".partial")
        partial.write_text(f"$ORIGIN {DOMAIN}.\n" + "".join(records))
        partial.replace(self._zone)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._port)) == 0
