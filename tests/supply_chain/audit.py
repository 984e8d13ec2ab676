"""Ask OSV for known vulnerabilities of every pinned package: `make audit`.

OSV_URL names a mirror of its API. Exits with 0 if no package has
a known vulnerability, 1 if one has, and 3 if the database did not answer for all of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCKED = (*sorted(ROOT.glob("requirements/*.txt")), ROOT / "deploy/images/example/requirements.txt")
CLEAN, VULNERABLE, UNANSWERED = 0, 1, 3
# The pins are complete: nothing is resolved, installed or asked of an index.
PIP_AUDIT = (
    *("pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json"),
    "--vulnerability-service=osv",
)


class UnansweredError(Exception):
    """The database did not answer, or not for every package."""


def pins(files: Iterable[Path]) -> set[tuple[str, str]]:
    """The packages that the files lock, with their versions, for any Python and any system."""
    text = "".join(file.read_text() for file in files)
    return set(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def rounds(packages: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Split the packages, because pip-audit takes only one version of each at a time."""
    result: list[dict[str, str]] = []
    for name, version in sorted(packages):
        free = next((each for each in result if name not in each), None)
        if free is None:
            result.append(free := {})
        free[name] = version
    return result


def vulnerabilities(packages: dict[str, str], mirror: str) -> list[str]:
    """One line for each known vulnerability of these packages. Raises UnansweredError."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in packages.items())
        file.flush()
        asked = [f"--requirement={file.name}", *([f"--osv-url={mirror}"] if mirror else [])]
        done = subprocess.run(
            [sys.executable, "-m", *PIP_AUDIT, *asked], capture_output=True, text=True, check=False
        )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise UnansweredError(reason or f"pip-audit ended with {done.returncode}") from None
    missed = packages.keys() - {each["name"] for each in found if "vulns" in each}
    if missed:
        raise UnansweredError(f"nothing was said of {', '.join(sorted(missed))}")
    return [_line(package, each) for package in found for each in package["vulns"]]


def _line(package: dict[str, Any], vulnerability: dict[str, Any]) -> str:
    known = ", ".join([vulnerability["id"], *vulnerability["aliases"]])
    fixed = ", ".join(vulnerability["fix_versions"])
    remedy = f"fixed in {fixed}" if fixed else "no fixed version"
    return f"{package['name']} {package['version']}: {known}; {remedy}"


def main() -> int:
    """Print what the database knows. Return the exit code."""
    mirror = os.environ.get("OSV_URL", "")
    packages = pins(LOCKED)
    try:
        found = [line for each in rounds(packages) for line in vulnerabilities(each, mirror)]
    except UnansweredError as error:
        print(f"audit: NOT CHECKED, no advisory database answered: {error}", file=sys.stderr)
        return UNANSWERED
    print(*found, f"audit: {len(packages)} packages, {len(found)} known vulnerabilities", sep="\n")
    return VULNERABLE if found else CLEAN


if __name__ == "__main__":
    sys.exit(main())
