"""Gets every real part that the tests run against: `python -m tests.cluster.parts`, by `make test`.

What cannot be had is said in one loud line, and the tests that need it are skipped; never fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.build import COMPONENTS, build
from tests.cluster.go import BuildError

# Program (or library) that shows a Debian package is there, and the package.
PACKAGES = {"prometheus": "prometheus", "faketime": "faketime"}
APT_WITHIN = 600  # seconds; 14 on a quick mirror


def main() -> int:
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if missing:
        install(missing)
    for component in COMPONENTS:
        try:
            print(f"{component.name}: {build(component)}", flush=True)
        except BuildError as error:
            say(f"{component.name}: {error}")
    return 0


def install(packages: list[str]) -> None:
    """By apt-get, where that may be."""
    names = " ".join(packages)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        say(f"{names}: needs root and apt-get: apt-get install {names}")
        return
    print(f"Installing {names}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        run_apt(["apt-get", "update", "-qq"], environment)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    if not run_apt(install, environment):
        run_apt(["apt-get", "update", "-qq"], environment)
        if not run_apt(install, environment):
            say(f"{names}: apt-get could not install them: see the lines above")


def run_apt(command: list[str], environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, timeout=APT_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def say(line: str) -> None:
    print(f"NOT AVAILABLE: {line} (tests that need it are skipped)", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
