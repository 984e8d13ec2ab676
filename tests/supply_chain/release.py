"""Check, build and try a release, and print what is left for a person.

`make release VERSION=1.2.3` is the same as
python -m tests.supply_chain.release VERSION [--dry-run] [--into FOLDER] [--base IMAGE]
Publishes nothing. Exits with 0 if all is ready, with 1 and a line for each problem if it is not,
and with 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from autoscaler.errors import SOURCE
from exporter.release import commit_of
from tests.lab import counts
from tests.lab.environment import install, make
from tests.lab.go import BuildError, output_of
from tests.lab.images import OURS
from tests.lab.wheels import ROOT, build_wheels, constraints
from tests.supply_chain.images import add_base_options, base_of, build_images, try_image
from tests.supply_chain.release_checks import CHECKS, VERSION, problems

CHECKSUMS = "SHA256SUMS"
READY, NOT_READY = 0, 1


def build_and_try(version: str, base: str, folder: Path) -> list[Path]:
    """Write all files of the release into the folder. Those. Raises BuildError."""
    expected = f"{version} (commit {commit_of(ROOT)})"
    wheel, sdist = build_wheels(folder)
    try_wheel(wheel, expected)
    archives = build_images(wheel, base, folder)
    for archive in archives:
        try_image(archive, expected)
    return [wheel, sdist, *archives, *sorted(folder.glob("*.cdx.json"))]


def try_wheel(wheel: Path, expected: str) -> None:
    """Run the programs of the wheel in an empty environment. Raises BuildError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pins.txt").write_text(constraints())
        python = make(sys.executable, folder / "venv")
        install(
            python, "--constraint", str(folder / "pins.txt"), f"{wheel.absolute()}[daemon,report]"
        )
        programs, policies = Path(python).parent, str(ROOT / "policies")
        for program in ("autoscaler", "bokeh-exporter"):
            told = _run(programs / program, "--version", folder=folder).strip()
            if told != expected:
                raise BuildError(f"{program} of {wheel} says {told}; expected {expected}")
        _run(programs / "autoscaler", "check", policies, folder=folder)
        simulated = ("--policy", f"{policies}/sessions.yaml", "--workload", "class-of-200")
        _run(programs / "autoscaler", "simulate", *simulated, folder=folder)
        _run(programs / "bokeh-exporter", "launch", "--", "true", folder=folder)


def _run(program: Path, *words: str, folder: Path) -> str:
    """Away from the checkout, whose modules would be found in place of the installed ones."""
    return output_of([str(program), *words], folder, PYTHONPATH="")


def write_checksums(files: Iterable[Path], folder: Path) -> Path:
    """Write the file that `sha256sum --check` reads in the folder. It."""
    lines = []
    for file in files:
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.name}\n")
    target = folder / CHECKSUMS
    target.write_text("".join(lines))
    return target


def left_for_a_person(version: str, folder: Path) -> list[str]:
    """What has to be decided, or needs rights that no script has."""
    first = (
        "after the upload, this being the first release: set SOURCE and PLACE in "
        "autoscaler/errors.py, and change the pages that tests/docs/test_install.py then names"
    )
    return [
        "make audit: ask for known vulnerabilities of the pinned packages",
        "read what the suite had to skip, and docs/upgrade.md against the changelog",
        f"git tag --sign v{version} and push the tag",
        f"sign {folder}/{CHECKSUMS}, and publish it with the files that it lists",
        f"upload {folder}/*.whl and {folder}/*.tar.gz to the package index",
        *(f"docker load --input {folder}/{name}-{version}.tar, then push it" for name in OURS),
        *([first] if SOURCE == "." else []),
        "begin the next section of CHANGELOG.md with `## Unreleased`",
    ]


def _suite() -> list[str]:
    """How many tests each target ran, and on which commit."""
    found = ((target, *counts.passed(ROOT, target)) for target in counts.TARGETS)
    return [f"make {name} on {commit}: {line.strip('= ')}" for name, commit, line in found if line]


def _refuse(lines: Iterable[str]) -> int:
    for line in lines:
        print(f"release: NOT READY: {line}", file=sys.stderr)
    return NOT_READY


def _release(options: argparse.Namespace) -> int:
    version, folder = options.version, options.into
    found = problems(ROOT, version)
    if folder.is_dir() and any(folder.iterdir()):
        found.append(f"{folder} has files, which might be of another commit: empty it")
    for line in _suite():
        print(line)
    if found:
        return _refuse(found)
    print(f"release {version}: {len(CHECKS)} checks passed on commit {commit_of(ROOT)}")
    if options.dry_run:
        made = ("the wheel", "the sdist", *(f"image {name}, with its SBOM" for name in OURS))
        print(*(f"would build and try: {each}" for each in made), sep="\n")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        files = build_and_try(version, base_of(options), folder)
        print(*files, write_checksums(files, folder), sep="\n")
    print("left for a person:", *left_for_a_person(version, folder), sep="\n  * ")
    return READY


def _version(text: str) -> str:
    if VERSION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no version; expected one such as 1.2.3")
    return text


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        description="Check, build and try a release, and print what is left for a person."
    )
    parser.add_argument("version", type=_version, help="version to release, such as 1.2.3")
    parser.add_argument("--dry-run", action="store_true", help="only check, and build nothing")
    parser.add_argument("--into", type=Path, default=Path("dist"), help="folder (default: dist)")
    add_base_options(parser)
    try:
        return _release(parser.parse_args())
    except BuildError as error:
        return _refuse([str(error)])
    except subprocess.CalledProcessError as error:
        return _refuse([str(error.stderr).strip()])


if __name__ == "__main__":
    sys.exit(main())
