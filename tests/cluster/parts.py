"""`make parts`: gets the real components that the tests need, as far as this machine lets it.

What cannot be had is said in one line and does not stop the tests, which skip what needs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.cluster.build import COMPONENTS, build_all

APT = ("apt-get", "--quiet", "--quiet")
INSTALL = (*APT, "install", "--yes", "--no-install-recommends", "prometheus")


def packaged_prometheus() -> str:
    """Install the distribution's Prometheus where we may. One line: where it is, or why not."""
    if found := shutil.which("prometheus"):
        return f"prometheus (packaged): {found}"
    if not shutil.which("apt-get"):
        return "NO PACKAGED PROMETHEUS: no apt-get here; install Prometheus 2.42 or newer by hand"
    if os.geteuid() != 0:
        return "NO PACKAGED PROMETHEUS: not root; run `sudo apt-get install prometheus`"
    print("prometheus (packaged): installing with apt-get", flush=True)
    problem = _run(INSTALL) and (_run((*APT, "update")) or _run(INSTALL))
    if problem:
        return f"NO PACKAGED PROMETHEUS: {problem}"
    return f"prometheus (packaged): {shutil.which('prometheus')}"


def _run(command: tuple[str, ...]) -> str:
    """Empty when the command succeeds, else the last line that it wrote."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    written = (result.stderr or result.stdout).strip().splitlines()
    return (written or [f"{command[0]} failed"])[-1] if result.returncode else ""


def main() -> int:
    print(packaged_prometheus(), flush=True)
    build_all(COMPONENTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
