"""The real nginx and HAProxy with the configuration that we ship, on loopback."""

from __future__ import annotations

import os
import re
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import yaml

from tests.deploy.manifests import FOLDER as KUBERNETES
from tests.lab.processes import Processes, free_ports, wait_until
from tests.proxies.fleet import PORT

DEPLOY = KUBERNETES.parent
PATIENCE = 20.0
EXAMPLE = "10.0.0."
COOKIE_KEY = "known-to-nobody"
Changes = Mapping[str, str]
AS_SHIPPED: Changes = MappingProxyType({})
# In trusted.conf and trusted.lst: whoever comes from this machine is a proxy.
TRUSTING: Changes = MappingProxyType({"# 10.0.0.0/8": "127.0.0.1/32"})


def changed(texts: Mapping[str, str], changes: Changes) -> dict[str, str]:
    """The texts with changes made, each of which must be needed."""
    result = dict(texts)
    for old, new in changes.items():
        assert any(old in text for text in result.values()), f"{old!r} is not in {list(texts)}"
        result = {name: text.replace(old, new) for name, text in result.items()}
    return result


def in_place_of_examples(addresses: Sequence[str]) -> dict[str, str]:
    """The servers of the shipped lists become these; what is left of the lists goes."""
    return {f"{EXAMPLE}{11 + n}:{PORT}": f"{each}:{PORT}" for n, each in enumerate(addresses)}


def start_script(component: str) -> str:
    """The shell script by which a pod of the component starts its proxy."""
    text = (KUBERNETES / "components" / component / "proxy.yaml").read_text()
    deployment: Any = next(yaml.safe_load_all(text))
    [script] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return str(script)


class Proxy(ABC):
    """One of them, once it is started; it ends with its `processes`.

    folder: an empty one for its files. url: of the app, through it.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    quit_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder = folder
        self.port, self.second_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}/app"
        self._processes = processes

    @abstractmethod
    def start(self, addresses: Sequence[str], changes: Changes = AS_SHIPPED) -> None:
        """Start it before a list of servers, with further changes of the shipped files."""

    @abstractmethod
    def follow(self, resolv_conf: Path) -> None:
        """Start it as its pod does, after the Services that a name server knows."""

    @abstractmethod
    def drain(self, number: int) -> None:
        """Send new users elsewhere, as the page tells an operator to do."""

    @abstractmethod
    def undrain(self, number: int) -> None:
        """Take new users again."""

    @abstractmethod
    def reload(self) -> None:
        """Take the configuration up anew; returns when the new processes serve."""

    def quit(self) -> None:
        """Tell it to go, as its pod is told."""
        self._processes.send(self.name, self.quit_signal)

    def has_ended(self) -> bool:
        return self._processes.has_ended(self.name)

    def log(self) -> str:
        return self._processes.tail(self.name, 1000)

    def _write(self, names: Iterable[str], changes: Changes) -> None:
        texts = {name: (DEPLOY / self.name / name).read_text() for name in names}
        for name, text in changed(texts, changes).items():
            lines = [line for line in text.splitlines(keepends=True) if EXAMPLE not in line]
            (self.folder / name).write_text("".join(lines))

    def _start(self, command: Sequence[str | Path]) -> None:
        self._processes.start(self.name, command)
        self._processes.await_ready(self.listens, PATIENCE, f"{self.name} to listen")

    def _start_script(self, changes: Changes) -> None:
        script = {"script": start_script(f"sticky-{self.name}")}
        self._start(["/bin/sh", "-ec", changed(script, changes)["script"]])

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


class Nginx(Proxy):
    """Its workers go on as root here, who alone may read a folder of pytest's."""

    name = "nginx"
    files = ("nginx.conf", "affinity.conf", "proxy.conf", "trusted.conf")
    quit_signal = signal.SIGQUIT

    def start(self, addresses: Sequence[str], changes: Changes = AS_SHIPPED) -> None:
        own = {
            "include kubernetes.conf;": "include servers.conf;",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
        }
        names = (*self.files, "servers.conf")
        self._write(names, {**self._own(), **own, **in_place_of_examples(addresses), **changes})
        self._lines = [f"    server {each}:{PORT};\n" for each in addresses]
        self._start(["nginx", "-e", "stderr", "-c", self.folder / "nginx.conf"])

    def follow(self, resolv_conf: Path) -> None:
        ports = {
            "listen 8080;": f"listen 127.0.0.1:{self.port};",
            "listen 8081;": f"listen 127.0.0.1:{self.second_port};",
        }
        self._write((*self.files, "kubernetes.conf"), {**self._own(), **ports})
        places = {"/etc/nginx/bokeh": str(self.folder), "> /tmp/": f"> {self.folder}/"}
        self._start_script({"/etc/resolv.conf": str(resolv_conf), **places})

    def drain(self, number: int) -> None:
        self._edit(self._lines[number], f"    # drains: {number}\n")

    def undrain(self, number: int) -> None:
        self._edit(f"    # drains: {number}\n", self._lines[number])

    def reload(self) -> None:
        before = self._workers()
        self._processes.send(self.name, signal.SIGHUP)
        wait_until(lambda: self._replaced(before), PATIENCE, "new workers of nginx")

    def _own(self) -> dict[str, str]:
        user = "\nuser root;" if os.geteuid() == 0 else ""
        return {
            "/tmp/": f"{self.folder}/",
            "/etc/nginx/bokeh/": f"{self.folder}/",
            "daemon off;": f"daemon off;{user}",
        }

    def _edit(self, old: str, new: str) -> None:
        file = self.folder / "servers.conf"
        file.write_text(changed({"": file.read_text()}, {old: new})[""])
        self.reload()

    def _workers(self) -> set[str]:
        """The ids of the processes that take connections."""
        master = (self.folder / "nginx.pid").read_text().strip()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return {each for each in children if b"shutting down" not in _title(each)}

    def _replaced(self, before: set[str]) -> bool:
        now = self._workers()
        return bool(now) and not now & before


class HAProxy(Proxy):
    name = "haproxy"
    files = ("haproxy.cfg", "trusted.lst")
    quit_signal = signal.SIGUSR1

    def start(self, addresses: Sequence[str], changes: Changes = AS_SHIPPED) -> None:
        own = {
            "    user haproxy\n    group haproxy\n": "",
            "/run/haproxy/admin.sock mode 660": f"127.0.0.1:{self.second_port}",
        }
        names = (*self.files, "servers.cfg")
        self._write(names, {**self._own(), **own, **in_place_of_examples(addresses), **changes})
        # As systemd starts it: a master, which reloads, and a worker.
        environment = ("env", f"PORT={self.port}", f"COOKIE_KEY={COOKIE_KEY}")
        self._start([*environment, "haproxy", "-W", "-db", "-f", self.folder])
        wait_until(self._heeds_signals, PATIENCE, "HAProxy's master to heed signals")

    def follow(self, resolv_conf: Path) -> None:
        health = {"bind :8404": f"bind 127.0.0.1:{self.second_port}"}
        self._write((*self.files, "kubernetes.cfg"), {**self._own(), **health})
        places = {
            "/etc/haproxy/bokeh": str(self.folder),
            "PORT=8080": f"PORT={self.port} COOKIE_KEY={COOKIE_KEY}",
            ':53"': '"',  # the file names the port
        }
        self._start_script({"/etc/resolv.conf": str(resolv_conf), **places})

    def drain(self, number: int) -> None:
        self._say_as_told("drain", number)

    def undrain(self, number: int) -> None:
        self._say_as_told("ready", number)

    def _say_as_told(self, state: str, number: int) -> None:
        """What our page tells operators to say of the first server, of another one."""
        page = (DEPLOY / self.name / "README.md").read_text()
        [command] = re.findall(rf'echo "(set server bokeh/b1 .* {state})"', page)
        self.say(command.replace("b1", f"b{number + 1}"))

    def reload(self) -> None:
        before = self._process_id()
        self._processes.send(self.name, signal.SIGUSR2)
        wait_until(lambda: self._process_id() != before, PATIENCE, "a new worker of HAProxy")

    def say(self, command: str) -> str:
        """The answer to a command on its stats socket."""
        with socket.create_connection(("127.0.0.1", self.second_port), PATIENCE) as client:
            client.sendall(f"{command}\n".encode())
            with client.makefile() as answer:
                return answer.read().strip()

    def _process_id(self) -> str:
        return self.say("show info").split("\nPid: ")[1].split()[0]

    def _heeds_signals(self) -> bool:
        """The worker listens before; what the master is told until then is lost."""
        status = Path(f"/proc/{self._processes.pid(self.name)}/status").read_text()
        return bool(re.search(r"^SigBlk:\s0+$", status, re.MULTILINE))

    def _own(self) -> dict[str, str]:
        return {'bind ":': 'bind "127.0.0.1:', "/etc/haproxy/bokeh/": f"{self.folder}/"}


def _title(process_id: str) -> bytes:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except FileNotFoundError:  # it has ended meanwhile
        return b"shutting down"


PROXIES: tuple[type[Proxy], ...] = (Nginx, HAProxy)
