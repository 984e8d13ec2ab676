"""`make parts`: gets the real components that the tests need, as far as this machine lets it.

What cannot be had is said in one line and does not stop the tests, which skip what needs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from tests.cluster.build import COMPONENTS, Component, build
from tests.cluster.go import BuildError

PACKAGES = ("prometheus", "faketime")  # each has a program of the same name
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")
INSTALL = (*APT, "install", "--yes", "--no-install-recommends")


def missing(name: str, problem: object, how: str) -> str:
    """The one line for a part that cannot be had."""
    return f"NOT AVAILABLE: {name}: {problem}: tests that need it are skipped; to get it: {how}"


def packaged(name: str) -> str:
    """Install a package of the distribution where we may. One line: where it is, or why not."""
    if not (shutil.which(name) or _may_install()):
        return missing(name, "no apt-get here or not root", f"sudo apt-get install {name}")
    problem = "" if shutil.which(name) else _install(name)
    if problem:
        return missing(name, problem, f"sudo apt-get install {name}")
    return f"{name} (packaged): {shutil.which(name)}"


def built(component: Component) -> str:
    """Build a component unless it is there. One line: where it is, or why not."""
    try:
        return f"{component.name} (built): {build(component)}"
    except (BuildError, OSError) as error:
        how = f"mend this, then python -m tests.cluster.build {component.name}"
        return missing(f"{component.name} (built)", error, how)


def _may_install() -> bool:
    return bool(shutil.which("apt-get")) and os.geteuid() == 0


def _install(name: str) -> str:
    """Empty when it is installed, else why not. The lists are renewed only when they fail us."""
    print(f"{name} (packaged): installing with apt-get", flush=True)
    install = (*INSTALL, name)
    return _run(install) and (_run((*APT, "update")) or _run(install))


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


def main(components: Iterable[Component] = COMPONENTS) -> int:
    for name in PACKAGES:
        print(packaged(name), flush=True)
    for component in components:
        print(built(component), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
