"""A machine to follow a page on: our programs, with files, processes and network of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h; Python has `os.setns` from 3.12 on
# Killed with us, whatever kills us, and everything that it started with it.
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES)
COPIED = ("/etc/nginx", "/etc/haproxy", "/etc/default")
EMPTY = ("/run", "/var/log", "/var/lib/nginx")


def why_not() -> str | None:
    """What is missing for such a machine; None: nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    missing = [each for each in (*COPIED, *EMPTY) if not Path(each).is_dir()]
    return f"{', '.join(missing)}: `make parts` installs nginx and HAProxy" if missing else None


@contextmanager
def own_network(addresses: Iterable[str]) -> Iterator[None]:
    """This thread, with the threads and processes that it starts, is in a network of its own.

    addresses: of this machine there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home:
        if libc.unshare(NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for each in addresses:
                subprocess.run(["ip", "address", "add", f"{each}/32", "dev", "lo"], check=True)
            yield
        finally:
            if libc.setns(home.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")


class Machine:
    """Its /etc is a copy that a test may edit, in `folder`; what runs there ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "programs"

    def __enter__(self) -> Self:
        for each in COPIED:
            shutil.copytree(each, self.file(each), symlinks=True)
        self._programs.mkdir()
        sudo = self._programs / "sudo"
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        mounts = [f"mount --bind {self.file(each)} {each}" for each in COPIED]
        mounts += [f"mount -t tmpfs tmpfs {each}" for each in EMPTY]
        script = "\n".join([*mounts, "mkdir /run/haproxy /var/log/nginx", "echo ready", "cat"])
        self._holder = subprocess.Popen(
            [*UNSHARE, "sh", "-ec", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        holder = self._holder.pid
        self._inside = Path(f"/proc/{holder}/task/{holder}/children").read_text().strip()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._holder.kill()
        self._holder.communicate()

    def file(self, path: str) -> Path:
        """Where a file of the machine lies for us."""
        return self.folder / path.lstrip("/")

    def run(self, script: str, folder: Path) -> str:
        """What a script prints, run there in a folder. Fails with what it complains of."""
        enter = ["nsenter", "--mount", "--pid", "--target", self._inside, f"--wd={folder}"]
        with (self.folder / "output").open("w+") as output:  # no pipe: what it starts would hold it
            result = subprocess.run(
                [*enter, "sh", "-ec", script],
                env={**os.environ, "PATH": f"{self._programs}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                timeout=60,
            )
            output.seek(0)
            said = output.read()
        assert result.returncode == 0, f"{script}: {said}"
        return said
