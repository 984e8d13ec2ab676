"""The images of this checkout as files, each with its bill of materials: `make images`.

python -m tests.supply_chain.images [--into FOLDER] [--base IMAGE | --local-base]
Needs root and buildah. Writes NAME-VERSION.tar, which `docker load` takes, and NAME.cdx.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.lab.go import BuildError
from tests.lab.images import OURS, Release, build_base, our_image, pinned_base, python_of, run_in
from tests.lab.wheels import build_wheels, project_version
from tests.supply_chain.sbom import write

# What each image must be able to run, beside the program that tells its version.
RUNS = {
    "bokeh-autoscaler": ("autoscaler", "schema"),
    "bokeh-exporter": ("bokeh-exporter", "launch", "--", "true"),
    "bokeh-example": ("bokeh-exporter", "launch", "--", "bokeh", "info"),
}


def build_images(wheel: Path, base: str, folder: Path) -> list[Path]:
    """Build all images from the wheel, and write their bills. The archives. Raises BuildError."""
    release = Release(project_version(), wheel, base)
    archives = []
    for name in OURS:
        archive = folder / f"{name}-{release.version}.tar"
        _copy(our_image(name, release), archive)
        write(archive, folder)
        archives.append(archive)
    return archives


def told_by(archive: Path) -> str:
    """The version that the program of an image tells. Raises BuildError."""
    return run_in(f"docker-archive:{archive}", RUNS[_name(archive)][0], "--version").strip()


def try_image(archive: Path, expected: str) -> None:
    """Run the programs of an image. Raises BuildError, also if it tells another version."""
    if (told := told_by(archive)) != expected:
        raise BuildError(f"{archive} says {told}; expected {expected}")
    run_in(f"docker-archive:{archive}", *RUNS[_name(archive)])


def _name(archive: Path) -> str:
    return archive.name.rpartition("-")[0]


def add_base_options(parser: argparse.ArgumentParser) -> None:
    """What is below the images, for each command that builds them."""
    bases = parser.add_mutually_exclusive_group()
    bases.add_argument(
        "--base", metavar="IMAGE", help="base of the images (default: that of the Dockerfiles)"
    )
    bases.add_argument(
        "--local-base",
        action="store_true",
        help="Debian's Python, made by debootstrap where no registry is reached; for a trial only",
    )


def base_of(options: argparse.Namespace) -> str:
    """The base that is asked for, once it is here. Raises BuildError."""
    if options.local_base:
        return build_base()
    base = options.base or pinned_base()
    try:
        python_of(base)
    except BuildError as error:
        hint = "name a base by BASE=, or try with LOCAL_BASE=yes"
        raise BuildError(f"the base {base} cannot be had: {error}; {hint}") from error
    return base


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


def main() -> int:
    """Print the path of each file that was written. Return the exit code."""
    parser = argparse.ArgumentParser(description="Build the images of this checkout as files.")
    parser.add_argument("--into", type=Path, default=Path("dist"), help="folder (default: dist)")
    add_base_options(parser)
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        base = base_of(options)
        wheel, _ = build_wheels(options.into)
        archives = build_images(wheel, base, options.into)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    print(wheel, *(f"{each}: {told_by(each)}" for each in archives), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
