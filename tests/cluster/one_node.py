"""A whole Kubernetes node in namespaces of its own: kubelet, containers, cgroups, Services, DNS.

`python -m tests.cluster.one_node [--image ARCHIVE]... [-- COMMAND]` runs the command in it with
KUBECONFIG set and exits with its code; without a command it stays until Ctrl-C. Needs root on
Linux. Its network, mounts and processes are invisible to the machine and end with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.cluster.build import COREDNS, KUBERNETES, NODE, build
from tests.cluster.control_plane import ControlPlane
from tests.cluster.go import BuildError
from tests.cluster.images import pause_image
from tests.cluster.processes import wait_until

ADDRESS = "10.0.0.1"  # of the node; the kubelet refuses a loopback address
NAMESERVER = "10.96.0.10"
PODS = "10.244.0.0/16"
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = ("unshare", "ip", "iptables", "containerd", "ctr", "runc", "buildah", "debootstrap")
TEMPLATES = Path(__file__).parent / "node_configuration"
CGROUPS = Path("/sys/fs/cgroup")


class OneNode(ControlPlane):
    """The control plane on the node's address, with a real node in place of the scripted one.

    Only to be entered inside the namespaces that `main` makes.
    """

    def __init__(self, folder: Path, cgroup: str) -> None:
        super().__init__(build(KUBERNETES), folder)
        self._cgroup = cgroup
        self._address, self._port = ADDRESS, 6443
        self._api_options = {"kubelet_preferred_address_types": "InternalIP"}
        self._socket = folder / "containerd.sock"

    def _join_node(self, stack: ExitStack) -> None:
        self._start_containerd()
        self.import_image(pause_image())
        self._start_kubelet()
        self._start_proxy()
        self._start_coredns()
        self._processes.await_ready(self._node_is_ready, 60, "the node to be Ready")

    def import_image(self, archive: Path) -> None:
        """Load a docker archive, so that pods can name the image in it."""
        control = ["ctr", "--address", str(self._socket), "--namespace", "k8s.io"]
        command = [*control, "images", "import", "--no-unpack", str(archive)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{archive} was not imported: {result.stderr}"

    def _start_containerd(self) -> None:
        networks = self.folder / "networks"
        networks.mkdir()
        self._configure("network.conflist", networks / "10-pods.conflist")
        config = self._configure("containerd.toml", self.folder / "containerd.toml")
        self._processes.start("containerd", ["containerd", "--config", config])
        self._processes.await_ready(self._socket.exists, 30, "containerd")

    def _start_kubelet(self) -> None:
        (self.folder / "resolv.conf").write_text("")
        config = self._configure("kubelet.yaml", self.folder / "kubelet.yaml")
        self._node_program(
            "kubelet",
            config=config,
            kubeconfig=self.admin,
            root_dir=self.folder / "kubelet",
            cert_dir=self.folder / "kubelet-certificates",
            node_ip=ADDRESS,
            hostname_override="node-1",
        )

    def _start_proxy(self) -> None:
        self._node_program(
            "kube-proxy",
            kubeconfig=self.admin,
            proxy_mode="iptables",
            cluster_cidr=PODS,
            hostname_override="node-1",
            conntrack_max_per_core=0,
            conntrack_tcp_timeout_established=0,
            conntrack_tcp_timeout_close_wait=0,
        )

    def _start_coredns(self) -> None:
        config = self._configure("Corefile", self.folder / "Corefile")
        self._processes.start("coredns", [build(COREDNS) / "coredns", "-conf", config])

    def _node_program(self, program: str, **options: object) -> None:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._processes.start(program, [build(NODE) / program, *words])

    def _configure(self, template: str, target: Path) -> Path:
        """A configuration file with the addresses and folders of this node filled in."""
        text = (TEMPLATES / template).read_text()
        values = {
            "@FOLDER@": str(self.folder),
            "@PODS@": PODS,
            "@NAMESERVER@": NAMESERVER,
            "@CGROUP@": f"/{self._cgroup}",
            "@KUBECONFIG@": str(self.admin),
        }
        for mark, value in values.items():
            text = text.replace(mark, value)
        target.write_text(text)
        return target

    def _node_is_ready(self) -> bool:
        nodes = self.core.list_node().items
        return any(
            condition.type == "Ready" and condition.status == "True"
            for node in nodes
            for condition in node.status.conditions or ()
        )


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def prepare_namespaces() -> None:
    """Mounts that stay here, a bridge with the node's address, the name server's address."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node0", "type", "bridge")
    run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "via", ADDRESS)
    run("ip", "addr", "add", f"{NAMESERVER}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def cgroup_folders(name: str) -> list[Path]:
    """One folder on cgroup v2; one for each controller on v1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / name]
    return [each / name for each in CGROUPS.iterdir() if each.is_dir() and not each.is_symlink()]


def make_cgroup(name: str) -> None:
    """The kubelet's root, with the same processors and memory as ours."""
    for folder in cgroup_folders(name):
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (folder.parent / setting).is_file() and (folder / setting).is_file():
                (folder / setting).write_text((folder.parent / setting).read_text())


def remove_cgroup(name: str) -> None:
    """Deepest first; a cgroup whose last process has just ended may take a moment."""
    for top in cgroup_folders(name):
        folders = [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        for folder in folders:
            wait_until(lambda folder=folder: _removed(folder), 10, f"{folder} to be empty")  # type: ignore[misc]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def inside(folder: Path, cgroup: str, images: Sequence[Path], command: Sequence[str]) -> int:
    """Runs as the first process of the new namespaces. The command's exit code."""
    prepare_namespaces()
    began = time.monotonic()
    with OneNode(folder, cgroup) as node:
        for image in images:
            node.import_image(image)
        print(f"node ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        environment = {**os.environ, "KUBECONFIG": str(node.admin)}
        environment["PATH"] = f"{node.programs}:{os.environ['PATH']}"
        if command:
            return subprocess.run(command, env=environment, check=False).returncode
        _say_how_to_use(node)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


def _say_how_to_use(node: OneNode) -> None:
    enter = f"nsenter --target {_outer_pid()} --net --mount --pid"
    print(f"alias kubectl='{enter} {node.programs}/kubectl --kubeconfig {node.admin}'")
    print("Ctrl-C ends it all.", flush=True)


def _outer_pid() -> str:
    return os.environ["ONE_NODE_PID"]


def problem() -> str | None:
    """Why this machine cannot have a node; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"missing {', '.join(missing)}: run `make parts`" if missing else None


def main(arguments: list[str] | None = None) -> int:
    """Make the namespaces, run `inside` in them, clean up after it."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.one_node", description=__doc__)
    parser.add_argument("--image", action="append", default=[], type=Path, metavar="ARCHIVE")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*", metavar="-- COMMAND")
    options = parser.parse_args(arguments)
    if options.inside:
        folder = Path(options.inside)
        return inside(folder, folder.name, options.image, options.command)
    if reason := problem():
        print(f"no node here: {reason}", file=sys.stderr)
        return 1
    try:
        for component in (KUBERNETES, NODE, COREDNS):
            build(component)
        pause_image()
    except BuildError as error:
        print(f"no node here: {error}", file=sys.stderr)
        return 1
    return _outside(options.image, options.command)


def _outside(images: Sequence[Path], command: Sequence[str]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="bokeh-autoscaler-node-"))
    make_cgroup(folder.name)
    words = [word for image in images for word in ("--image", str(image.resolve()))]
    inner = [sys.executable, "-m", "tests.cluster.one_node", "--inside", str(folder), *words]
    process = subprocess.Popen([*UNSHARE, *inner, "--", *command])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # the inner process hears it and ends the node
    try:
        return process.wait()
    finally:
        remove_cgroup(folder.name)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
