"""What makes a machine a node: containerd and a kubelet. Two may share a machine's namespaces."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.build import NODE, build
from tests.lab.namespaces import NAMESERVER, node_address, run
from tests.lab.processes import Processes

MEMORY = Path("/proc/meminfo")
TEMPLATES = Path(__file__).parent / "node_configuration"
MEMORY_FOR_IMAGES = 8 << 30  # bytes free, from where on images are kept in it: they take 1.5 GB
FIRST_PORT, FIRST_HEALTH_PORT, PORTS_APART = 10250, 10248, 10
SOCKET = "containerd.sock"


def containerd(folder: Path, *words: str) -> None:
    """Tell the containerd of a node something about its images or containers.

    folder: of the node. Raises AssertionError with what it complains of.
    """
    control = ["ctr", "--address", str(folder / SOCKET), "--namespace", "k8s.io"]
    result = subprocess.run([*control, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}: {result.stderr}"


def import_image(folder: Path, archive: Path) -> None:
    """Load a docker archive into a node, so that pods can name the image in it."""
    containerd(folder, "images", "import", "--no-unpack", str(archive))


def tag_image(folder: Path, image: str, tag: str) -> None:
    """Give an image that a node has one more name there."""
    containerd(folder, "images", "tag", "--force", image, tag)


class WorkerNode:
    """The node `node-NUMBER`, 1 or 2; only to be used inside the namespaces of `one_node`.

    folder: of the cluster; this node's own is in it. cgroup: the root of all pods' cgroups.
    """

    def __init__(self, number: int, folder: Path, cgroup: str, processes: Processes) -> None:
        self.name = f"node-{number}"
        self._number = number
        self._folder = folder / self.name
        self._admin = folder / "admin.kubeconfig"
        self._cgroup = cgroup
        self._processes = processes

    def start_containerd(self) -> None:
        """Returns when it takes images and pods, those of an earlier start too."""
        networks, images = self._folder / "networks", self._folder / "containerd"
        networks.mkdir(parents=True, exist_ok=True)
        images.mkdir(exist_ok=True)
        if free_memory() > MEMORY_FOR_IMAGES and not images.is_mount():  # a disk takes 10 s longer
            run("mount", "-t", "tmpfs", "tmpfs", str(images))
        (self._folder / SOCKET).unlink(missing_ok=True)
        self._configure("network.conflist", networks / "10-pods.conflist")
        config = self._configure("containerd.toml", self._folder / "containerd.toml")
        self._processes.start(f"containerd-{self._number}", ["containerd", "--config", config])
        self._processes.await_ready((self._folder / SOCKET).exists, 30, "containerd")

    def import_image(self, archive: Path) -> None:
        """Load a docker archive."""
        import_image(self._folder, archive)

    def start_kubelet(self) -> None:
        """The node joins the cluster, and is Ready some seconds later."""
        (self._folder / "resolv.conf").write_text("")
        options = {
            "config": self._configure("kubelet.yaml", self._folder / "kubelet.yaml"),
            "kubeconfig": self._admin,
            "root-dir": self._folder / "kubelet",
            "cert-dir": self._folder / "kubelet-certificates",
            "node-ip": node_address(self._number),
            "hostname-override": self.name,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        self._processes.start(f"kubelet-{self._number}", [build(NODE) / "kubelet", *words])

    def _configure(self, template: str, target: Path) -> Path:
        """A configuration file with the addresses and folders of this node filled in."""
        apart = PORTS_APART * (self._number - 1)
        values = {
            "@FOLDER@": self._folder,
            "@NAME@": self.name,
            "@PODS@": f"10.244.{128 * (self._number - 1)}.0/17",
            "@NAMESERVER@": NAMESERVER,
            "@CGROUP@": f"/{self._cgroup}",
            "@PORT@": FIRST_PORT + apart,
            "@HEALTH_PORT@": FIRST_HEALTH_PORT + apart,
        }
        return fill_in(TEMPLATES / template, target, values)


def free_memory() -> int:
    """Bytes that programs can still have."""
    [line] = [x for x in MEMORY.read_text().splitlines() if x.startswith("MemAvailable:")]
    return int(line.split()[1]) * 1024


def fill_in(template: Path, target: Path, values: dict[str, object]) -> Path:
    """A file made from a template with marks; the target."""
    text = template.read_text()
    for mark, value in values.items():
        text = text.replace(mark, str(value))
    target.write_text(text)
    return target
