"""A whole Kubernetes node in namespaces of its own: kubelet, containers, cgroups, Services, DNS.

`python -m tests.lab.real_node [--stack] [--image ARCHIVE]... [-- COMMAND]` runs the command in
it with KUBECONFIG set and exits with its code; without a command it stays until Ctrl-C. Needs root
on Linux. Its network, mounts and processes are invisible to the machine and end with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.lab.build import COREDNS, HELM, KUBERNETES, NODE, build, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.go import BuildError
from tests.lab.images import pause_image
from tests.lab.namespaces import ADDRESS, NAMESERVER, UNSHARE, node_folder, prepare_namespaces
from tests.lab.stack import archives
from tests.lab.worker_node import TEMPLATES, WorkerNode, fill_in

PODS = "10.244.0.0/16"
PROGRAMS = ("unshare", "ip", "iptables", "containerd", "ctr", "runc", "buildah", "debootstrap")
IMAGES = "images"  # the file with the paths of the archives that the node has
PROCESS = "process"  # the file with the id, outside, of the process that holds the namespaces
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class OneNode(ControlPlane):
    """The control plane on the node's address, with a real node in place of the scripted one.

    Only to be entered inside the namespaces that `main` makes.
    """

    def __init__(self, folder: Path, cgroup: str, images: Sequence[Path] = ()) -> None:
        super().__init__(build(KUBERNETES), folder)
        self._images = (pause_image(), *images)
        (folder / IMAGES).write_text("\n".join(map(str, self._images)))
        self._imports: list[Future[None]] = []
        self._address, self._port = ADDRESS, 6443
        self._api_options = {"kubelet_preferred_address_types": "InternalIP"}
        self._worker = WorkerNode(1, folder, cgroup, self._processes)

    def __exit__(self, *_: object) -> None:
        """All of it ends with the namespaces, at once; in good order the API server takes 10 s."""
        self.close()

    def _start_api_server(self) -> None:
        """Meanwhile the images are loaded, 0.8 GB of them: 4 s of the node's start are saved."""
        self._worker.start_containerd()
        pool = ThreadPoolExecutor(2)
        self._imports = [pool.submit(self._worker.import_image, image) for image in self._images]
        pool.shutdown(wait=False)
        super()._start_api_server()

    def _join_node(self, stack: ExitStack) -> None:
        self._worker.start_kubelet()
        self._start_proxy()
        self._start_coredns()
        self._processes.await_ready(self._node_is_ready, 60, "the node to be Ready")
        for each in self._imports:
            each.result()

    def _start_proxy(self) -> None:
        """One for all nodes: they share the network."""
        options = {
            "kubeconfig": self.admin,
            "proxy-mode": "iptables",
            "cluster-cidr": PODS,
            "hostname-override": self._worker.name,
            "conntrack-max-per-core": 0,
            "conntrack-tcp-timeout-established": 0,
            "conntrack-tcp-timeout-close-wait": 0,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        self._processes.start("kube-proxy", [build(NODE) / "kube-proxy", *words])

    def _start_coredns(self) -> None:
        values = {"@NAMESERVER@": NAMESERVER, "@KUBECONFIG@": self.admin}
        config = fill_in(TEMPLATES / "Corefile", self.folder / "Corefile", values)
        self._processes.start("coredns", [build(COREDNS) / "coredns", "-conf", config])

    def _node_is_ready(self) -> bool:
        nodes = self.core.list_node().items
        return any(
            condition.type == "Ready" and condition.status == "True"
            for node in nodes
            for condition in node.status.conditions or ()
        )


def inside(folder: Path, options: argparse.Namespace) -> int:
    """Runs as the first process of the new namespaces. The command's exit code."""
    prepare_namespaces(folder)
    began = time.monotonic()
    with OneNode(folder, folder.name, options.image) as node:
        print(f"node ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if options.command:
            return _run_in(node, options.command, options.keep_fd)
        print(kubectl_from_outside(node.admin))
        print("Ctrl-C ends it all.", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        signal.sigwait(STOP_SIGNALS)
    return 0


def _run_in(node: OneNode, command: Sequence[str], kept: Sequence[int]) -> int:
    """A terminal sends Ctrl-C to the command as well: it ends by itself, we stay to clean up."""
    path = f"{node.programs}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(node.admin), "PATH": path}
    process = subprocess.Popen(command, env=environment, pass_fds=kept)
    signal.signal(signal.SIGINT, lambda *_: None)
    return process.wait()


def kubectl_from_outside(admin: Path) -> str:
    """The line that makes `kubectl` work in another terminal of this machine.

    admin: the node's kubeconfig file; beside it lies the id of a process in its network.
    """
    return f"alias kubectl='{_enter(admin)} {build(KUBERNETES)}/kubectl --kubeconfig {admin}'"


def any_from_outside(admin: Path) -> str:
    """The line that makes `inside` run any program in the node's network with its kubeconfig.

    It finds kubectl, our own programs, and helm where it has been built.
    """
    folders = [build(KUBERNETES), installed(HELM), Path(sys.executable).parent]
    path = ":".join(str(folder) for folder in folders if folder)
    return f"alias inside='{_enter(admin)} env KUBECONFIG={admin} PATH={path}:$PATH'"


def _enter(admin: Path) -> str:
    return f"nsenter --target {(admin.parent / PROCESS).read_text()} --net"


def problem() -> str | None:
    """Why this machine cannot have a node; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"missing {', '.join(missing)}: run `make parts`" if missing else None


def main(arguments: list[str] | None = None) -> int:
    """Make the namespaces, run `inside` in them, clean up after it."""
    options = _parser().parse_args(arguments)
    if options.inside:
        return inside(options.inside, options)
    if options.or_skip and os.environ.get("KUBECONFIG"):
        return subprocess.run(options.command, check=False).returncode
    try:
        if reason := problem():
            raise BuildError(reason)
        for component in (KUBERNETES, NODE, COREDNS):
            build(component)
    except BuildError as error:
        return _refuse(error, options)
    try:
        pause_image()
        options.image += archives() if options.stack else []
    except BuildError as error:  # ours to mend, so nothing to skip for
        print(f"NO IMAGES for the node: {error}", file=sys.stderr, flush=True)
        return 1
    return _outside(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.real_node", description=__doc__)
    parser.add_argument("--image", action="append", default=[], type=Path, metavar="ARCHIVE")
    parser.add_argument("--stack", action="store_true", help="load our images, built where needed")
    parser.add_argument(
        "--or-skip",
        action="store_true",
        help="take the cluster that KUBECONFIG names, if any; exit with 0 where there can be none",
    )
    parser.add_argument("--keep-fd", action="append", default=[], type=int, help=argparse.SUPPRESS)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*", metavar="-- COMMAND")
    return parser


def _refuse(reason: BuildError, options: argparse.Namespace) -> int:
    """The one line for a machine that cannot have a node."""
    skipped = "; SKIPPED: " + " ".join(options.command) if options.or_skip else ""
    print(f"NO KUBERNETES NODE: {reason}{skipped}", file=sys.stderr, flush=True)
    return 0 if options.or_skip else 1


def _outside(options: argparse.Namespace) -> int:
    with node_folder() as folder:
        words = [word for image in options.image for word in ("--image", str(image.resolve()))]
        words += [word for number in options.keep_fd for word in ("--keep-fd", str(number))]
        inner = [sys.executable, "-m", "tests.lab.real_node", "--inside", str(folder), *words]
        command = [*UNSHARE, "--net", *inner, "--", *options.command]
        process = subprocess.Popen(command, pass_fds=options.keep_fd)
        (folder / PROCESS).write_text(str(process.pid))
        # A terminal sends Ctrl-C to the inner process too, which ends the node in good order.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.kill())
        code = process.wait()
        return 128 + signal.SIGTERM if code == -signal.SIGKILL else code


if __name__ == "__main__":
    sys.exit(main())
