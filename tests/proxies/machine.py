"""A machine to follow a page on: our programs, with files and processes of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import UNSHARE

COPIED = ("/etc/nginx", "/etc/haproxy", "/etc/default")
EMPTY = ("/run", "/var/log", "/var/lib/nginx")
PROGRAMS = ("nginx", "haproxy", "socat", "openssl")
SERVICE = Path("/usr/lib/systemd/system/haproxy.service")


def why_not() -> str | None:
    """What is missing for such a machine; None: nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    missing = [each for each in PROGRAMS if shutil.which(each) is None]
    missing += [each for each in (*COPIED, *EMPTY, str(SERVICE)) if not Path(each).exists()]
    return f"{', '.join(missing)} missing: `make parts` installs them" if missing else None


@dataclass(frozen=True)
class Machine:
    """folder: its files. inside: the id of its first process, with which all others end."""

    folder: Path
    inside: str

    def file(self, path: str) -> Path:
        """Where a file of the machine lies for us."""
        return _file(self.folder, path)

    def run(self, script: str, folder: Path) -> str:
        """What a script prints, run there in a folder. Fails with what it complains of."""
        enter = ["nsenter", "--mount", "--pid", "--target", self.inside, f"--wd={folder}"]
        path = f"{self.folder / 'programs'}:{os.environ['PATH']}"
        with (self.folder / "output").open("w+") as output:  # no pipe: what it starts would hold it
            result = subprocess.run(
                [*enter, "sh", "-ec", script],
                env={**os.environ, "PATH": path},
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


@contextmanager
def own_machine(folder: Path) -> Iterator[Machine]:
    """One whose /etc is a copy that a test may edit, in this thread's network."""
    for each in COPIED:
        shutil.copytree(each, _file(folder, each), symlinks=True)
    sudo = folder / "programs" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    mounts = [f"mount --bind {_file(folder, each)} {each}" for each in COPIED]
    mounts += [f"mount -t tmpfs tmpfs {each}" for each in EMPTY]
    script = "\n".join([*mounts, "mkdir /run/haproxy /var/log/nginx", "echo ready", "cat"])
    holder = subprocess.Popen(
        [*UNSHARE, "sh", "-ec", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        yield Machine(folder, children.read_text().strip())
    finally:
        holder.kill()
        holder.communicate()


def _file(folder: Path, path: str) -> Path:
    return folder / path.lstrip("/")
