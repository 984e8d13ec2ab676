"""`make parts`: gets the real components that the tests need, as far as this machine lets it.

What cannot be had is said in one line and does not stop the tests, which skip what needs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.lab.build import COMPONENTS, COREDNS, NODE, Component, build
from tests.lab.go import BuildError
from tests.lab.images import BUSYBOX, is_static

# What tests take from the distribution: package and its program.
PACKAGES = {
    "prometheus": "prometheus",
    "victoria-metrics": "victoria-metrics",
    "faketime": "faketime",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "socat": "socat",
    "chromium-driver": "chromedriver",  # and the browser
}
# What the one-node cluster takes from the distribution: package and one program of it.
NODE_PACKAGES = {
    "util-linux": "unshare",
    "iproute2": "ip",
    "iptables": "iptables",
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "busybox-static": str(BUSYBOX),
}
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")
INSTALL = (*APT, "install", "--yes", "--no-install-recommends")
# Asked by Debian's packages before they start their service; 101 is "no". Policy manual, 9.3.3.
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(name: str, problem: object, how: str) -> str:
    """The one line for a part that cannot be had."""
    return f"NOT AVAILABLE: {name}: {problem}: tests that need it are skipped; to get it: {how}"


def packaged(name: str, program: str) -> str:
    """Install a package of the distribution where we may. One line: where it is, or why not."""
    if not (shutil.which(program) or _may_install()):
        return missing(name, "no apt-get here or not root", f"sudo apt-get install {name}")
    problem = "" if shutil.which(program) else _install(name)
    if problem:
        return missing(name, problem, f"sudo apt-get install {name}")
    return f"{name} (packaged): {shutil.which(program)}"


def node_packages(packages: Mapping[str, str] = NODE_PACKAGES) -> str:
    """Install what the one-node cluster needs. One line: that it is there, or why not."""
    names = [name for name, program in packages.items() if not _has(program)]
    how = f"sudo apt-get install {' '.join(names)}"
    if names and not _may_install():
        return missing("one-node cluster", "no apt-get here or not root", how)
    if problem := _install(*names) if names else "":
        return missing("one-node cluster", problem, how)
    return f"one-node cluster (packaged): {', '.join(packages)}"


def built(component: Component) -> str:
    """Build a component unless it is there. One line: where it is, or why not."""
    try:
        return f"{component.name} (built): {build(component)}"
    except (BuildError, OSError) as error:
        how = f"mend this, then python -m tests.lab.build {component.name}"
        return missing(f"{component.name} (built)", error, how)


def _has(program: str) -> bool:
    found = shutil.which(program)
    return found is not None and (program != str(BUSYBOX) or is_static(BUSYBOX))


def _may_install() -> bool:
    return bool(shutil.which("apt-get")) and os.geteuid() == 0


def _install(*names: str) -> str:
    """Empty when all are installed, else why not. The lists are renewed only when they fail us."""
    print(f"{' '.join(names)} (packaged): installing with apt-get", flush=True)
    install = (*INSTALL, *names)
    with _no_services():
        return _run(install) and (_run((*APT, "update")) or _run(install))


@contextmanager
def _no_services() -> Iterator[None]:
    """Only the programs are wanted: an nginx of the system would take port 80."""
    try:
        with POLICY.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:  # the machine's own rule, which stays
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


def _run(command: tuple[str, ...]) -> str:
    """Empty when the command succeeds, else the last line that it wrote."""
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    written = (result.stderr or result.stdout).strip().splitlines()
    return (written or [f"{command[0]} failed"])[-1] if result.returncode else ""


def main(components: Iterable[Component] | None = None) -> int:
    """Get everything. components: those to build, in place of all that this machine can use."""
    for name, program in PACKAGES.items():
        print(packaged(name, program), flush=True)
    for component in _usable() if components is None else components:
        print(built(component), flush=True)
    return 0


def _usable() -> Iterable[Component]:
    """A node needs root: without it, its programs (2 min to build) would be of no use."""
    if sys.platform == "linux" and os.geteuid() == 0:
        print(node_packages(), flush=True)
        return COMPONENTS
    how = "make parts as root on Linux"
    print(missing("one-node cluster", "not root on Linux", how), flush=True)
    return [each for each in COMPONENTS if each not in (NODE, COREDNS)]


if __name__ == "__main__":
    sys.exit(main())
