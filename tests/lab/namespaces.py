"""What tests take of their machine: namespaces; for the one-node cluster a cgroup and a folder.

Network, mounts and processes end with the namespaces. The cgroup and the folder are made and
removed outside; those of a run that was killed are removed by the next one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.lab.processes import wait_until

NODES = 2  # at most, at addresses of a bridge: the kubelet refuses a loopback address
ADDRESS = "10.0.0.1"  # of the first node, and of the API server
NAMESERVER = "10.96.0.10"
CLIENTS = "10.1.0.0/16"  # local addresses, so that each user of a test can come from one of its own
# setpriv: killed with its parent, whatever kills that; --kill-child hands it on to the namespaces.
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES)
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h; Python has `os.setns` from 3.12 on
CGROUPS = Path("/sys/fs/cgroup")
# Twice the usual, on cgroup v1 and v2: the pods go before the suite, but do not starve their node.
WEIGHTS = {"cpu.shares": "2048", "cpu.weight": "200"}
# Sockets, logs and state that containerd, the kubelet and CNI plugins put there and nowhere else.
HIDDEN = ("/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet")
PREFIX = "bokeh-autoscaler-node-"


def node_address(number: int) -> str:
    """Of the node with this number, from 1."""
    return f"10.0.0.{number}"


def run(*command: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """This thread, with the threads and processes that it starts, is in a network of its own.

    addresses: of this machine there, beside loopback. Needs root on Linux. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home:
        if libc.unshare(NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            run("ip", "link", "set", "lo", "up")
            for each in addresses:
                run("ip", "address", "add", f"{each}/32", "dev", "lo")
            yield
        finally:
            if libc.setns(home.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")


def prepare_namespaces(folder: Path) -> None:
    """Mounts that stay here, the node's addresses, and the cluster's names for those in here."""
    run("mount", "--make-rprivate", "/")
    for hidden in HIDDEN:
        run("mount", "-t", "tmpfs", "tmpfs", hidden)
    _resolve_by_the_cluster(folder)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node0", "type", "bridge")
    for number in range(1, NODES + 1):
        run("ip", "addr", "add", f"{node_address(number)}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "via", ADDRESS)
    run("ip", "route", "add", "local", CLIENTS, "dev", "lo")
    run("ip", "addr", "add", f"{NAMESERVER}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _resolve_by_the_cluster(folder: Path) -> None:
    """`http://bokeh-app.bokeh.svc.cluster.local` is a name for the command in here too."""
    ours = folder / "node-resolv.conf"
    ours.write_text(f"nameserver {NAMESERVER}\n")
    target = Path("/etc/resolv.conf").resolve()  # often a link into /run, which is empty now
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    run("mount", "--bind", str(ours), str(target))


@contextmanager
def node_folder() -> Iterator[Path]:
    """A folder for a node, and a cgroup and mount points of its own; all gone afterwards."""
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    made = _make_mount_points()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            make_cgroup(folder.name)
            yield folder
        finally:
            remove_cgroup(folder.name)
            remove_tree(folder)
            for each in reversed(made):
                with suppress(OSError):  # another run uses it, or the machine does by now
                    each.rmdir()


def remove_leftovers() -> None:
    """Of runs that were killed: their lock is free."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/.lock"):
        with lock.open("w") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_cgroup(lock.parent.name)
            remove_tree(lock.parent)


def remove_tree(folder: Path) -> None:
    """Processes of the node that have not ended yet may still write into it."""

    def removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(removed, 20, f"the removal of {folder}")


def _make_mount_points() -> list[Path]:
    """Folders that this machine does not have; a mount in the namespace needs them."""
    missing = [Path(each) for each in HIDDEN if not Path(each).exists()]
    for each in missing:
        each.mkdir(parents=True, exist_ok=True)
    return missing


def cgroup_folders(name: str, root: Path = CGROUPS) -> list[Path]:
    """One folder on cgroup v2; one for each controller on v1."""
    if (root / "cgroup.controllers").exists():
        return [root / name]
    return [each / name for each in root.iterdir() if each.is_dir() and not each.is_symlink()]


def make_cgroup(name: str, root: Path = CGROUPS) -> None:
    """The kubelet's root, with the same processors and memory as ours. Raises OSError."""
    if (root / "cgroup.controllers").exists():
        delegate(root)
    for folder in cgroup_folders(name, root):
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            given = folder.parent / setting
            if given.is_file() and (folder / setting).is_file():
                (folder / setting).write_text(given.read_text())
        for setting, weight in WEIGHTS.items():
            if (folder / setting).is_file():
                (folder / setting).write_text(weight)


def delegate(root: Path) -> None:
    """Cgroup v2: give the root's controllers to its children, as the kubelet needs them.

    A cgroup that has processes may not (but the machine's own root may), so in a container they
    move to a leaf: as container engines in containers do.
    """
    given = (root / "cgroup.controllers").read_text().split()
    missing = set(given) - set((root / "cgroup.subtree_control").read_text().split())
    if not missing:
        return
    if (root / "cgroup.type").exists():
        _move_processes(root / "cgroup.procs", root / "init")
    for controller in sorted(missing):
        (root / "cgroup.subtree_control").write_text(f"+{controller}")


def _move_processes(here: Path, leaf: Path) -> None:
    leaf.mkdir(exist_ok=True)
    for process in here.read_text().split():
        with suppress(ProcessLookupError):  # it has ended since
            (leaf / "cgroup.procs").write_text(process)


def remove_cgroup(name: str, root: Path = CGROUPS) -> None:
    """Deepest first; a cgroup whose last process has just ended may take a moment."""
    for top in cgroup_folders(name, root):
        for path, _, _ in os.walk(top, topdown=False):
            _remove(Path(path))


def _remove(folder: Path) -> None:
    def removed() -> bool:
        with suppress(OSError):
            folder.rmdir()
        return not folder.exists()

    wait_until(removed, 10, f"{folder} to be empty")
