"""Images without a container engine: Dockerfiles built by buildah, kept as docker archives.

Built ones stay in the cache, keyed by everything that they were made from.
`python -m tests.lab.images bokeh-big-data bokeh-points` prints the paths of those archives.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tests.deploy.pages import BIG_DATA_PAGE, DEPLOY_PAGE, command
from tests.lab.build import PROMETHEUS, build
from tests.lab.debian import libraries, newer_programs
from tests.lab.go import BuildError, alone, cache, output_of
from tests.lab.wheels import hatchling

BASE = "localhost/python:3.11"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# Python leaves it beside a source that it runs: with it each clone would build its own images.
COMPILED = shutil.ignore_patterns("__pycache__")
BUSYBOX = Path("/bin/busybox")
NO_COMMIT = {"BOKEH_AUTOSCALER_COMMIT": "test"}
# How often pip may fail, and seconds between two attempts.
PIP_TRIES, PIP_PAUSE = 3, 10.0
# Of the packages beside Bokeh and Panel, those that neither needs, and that take a minute to copy.
NO_NEED_OF_BOKEH = ("dask", "distributed", "llvmlite", "numba", "pyarrow", "scipy", "xarray")


def pause_image() -> Path:
    """The image that every pod's namespaces belong to: a program that only sleeps."""
    return busybox_image("localhost/pause:1", 'ENTRYPOINT ["/bin/busybox", "sleep", "999999999"]')


def busybox_image(name: str, *lines: str) -> Path:
    """A small image with a shell, for tests of the node itself. The archive's path."""
    return _image_of_files(name, (), lines)


def program_image(name: str, program: str, *lines: str) -> Path:
    """A program of Debian with its libraries and a shell. The archive's path.

    Stands in for the published image of that program. Raises BuildError.
    """
    try:
        root = newer_programs()
    except BuildError as error:
        print(f"images: {name} has this machine's {program}: {error}", file=sys.stderr, flush=True)
        root = Path("/")
    place = shutil.which(program, path=f"{root}/usr/sbin")
    if place is None:
        raise BuildError(f"{name} needs {program}: run `make parts`")
    inner = f"/{Path(place).relative_to(root)}"
    return _image_of_files(name, (inner, *libraries(inner, root)), lines, root)


def _image_of_files(
    name: str, files: Iterable[str], lines: Iterable[str], root: Path = Path("/")
) -> Path:
    """Files below a root where they are there, and this machine's busybox as the shell."""
    if not is_static(BUSYBOX):
        raise BuildError(f"{name} needs a static {BUSYBOX}: apt-get install busybox-static")
    with tempfile.TemporaryDirectory() as name_of_folder:
        context = Path(name_of_folder) / "root"
        sources = {str(BUSYBOX): BUSYBOX, **{each: root / each.lstrip("/") for each in files}}
        for file, source in sources.items():
            copy = context / file.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        for applet in ("sh", "awk"):
            (context / "bin" / applet).symlink_to("busybox")
        dockerfile = context.parent / "Dockerfile"
        dockerfile.write_text("\n".join(["FROM scratch", "COPY root /", *lines]) + "\n")
        return build_image(name, dockerfile, context.parent)


def is_static(program: Path) -> bool:
    """Whether it runs in an image that has nothing else: it names no ELF interpreter."""
    if not program.is_file():
        return False
    with program.open("rb") as file:
        return b"/ld-" not in file.read(4096)


def build_base() -> str:
    """Debian's Python as `localhost/python:3.11`, made once (a minute). Its name.

    Stands in for python:3.12-slim where no image can be pulled. Raises BuildError.
    """
    target = cache() / "images" / "base" / f"{SUITE}.tar"
    with alone(target):
        if not target.is_file():
            _bootstrap(target)
        if not _has(BASE):
            with tempfile.TemporaryDirectory() as name:
                (Path(name) / "Dockerfile").write_text(f"FROM scratch\nADD {target.name} /\n")
                os.link(target, Path(name) / target.name)
                _buildah("bud", "--isolation", "chroot", "--tag", BASE, name)
    return BASE


def _bootstrap(target: Path) -> None:
    print(f"images: making {BASE} with debootstrap (a minute, once)", file=sys.stderr, flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        root = Path(name) / "root"
        output_of(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)])
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(root / waste, ignore_errors=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        partial = Path(name) / "base.tar"
        output_of(["tar", "--numeric-owner", "-C", str(root), "-cf", str(partial), "."])
        partial.replace(target)


def build_image(
    name: str,
    dockerfile: Path,
    context: Path,
    arguments: Mapping[str, str] = {},
    printed: Sequence[str] = (),
) -> Path:
    """Build an image unless nothing changed since. The docker archive's path. Raises BuildError.

    name: with its tag. context: the folder that COPY sees; all of it is part of the key.
    printed: options of a `docker build` in that folder that does it, in place of our own.
    """
    options = printed or ("-f", str(dockerfile), "-t", name, ".")
    words = [name, *map("=".join, sorted(arguments.items())), *printed]
    key = _digest(words, [dockerfile, context])
    stem = name.replace("/", "_").replace(":", "_")
    archive = cache() / "images" / f"{stem}-{key}.tar"
    with alone(archive.with_name(stem)):
        if not archive.is_file():
            _build(name, context, arguments, options, archive)
            for outdated in archive.parent.glob(f"{stem}-*.tar"):
                if outdated != archive:
                    outdated.unlink()
    return archive


def _build(
    name: str, context: Path, arguments: Mapping[str, str], options: Sequence[str], archive: Path
) -> None:
    print(f"images: building {name}", file=sys.stderr, flush=True)
    given = [w for item in arguments.items() for w in ("--build-arg", "=".join(item))]
    isolated = ("--isolation", "chroot", "--layers", *given)
    _buildah("build", *isolated, *options, folder=context)
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    built = options[options.index("-t") + 1]
    _buildah("push", built, f"docker-archive:{partial}:{name}")
    _buildah("rmi", "--force", built)
    partial.replace(archive)


def _digest(words: Iterable[str], trees: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for tree in trees:
        files = sorted(p for p in tree.rglob("*") if p.is_file()) if tree.is_dir() else [tree]
        for file in files:
            digest.update(str(file.relative_to(tree)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _has(name: str) -> bool:
    try:
        _buildah("inspect", "--type", "image", name)
    except BuildError:
        return False
    return True


def _buildah(*words: str, folder: Path | None = None) -> str:
    return output_of([*_storage(), *words], folder)


@lru_cache
def _storage() -> tuple[str, ...]:
    """buildah with a storage of ours: overlay where it can be mounted, or copies (vfs, slower)."""
    for driver in ("overlay", "vfs"):
        folder = cache() / "images" / driver
        folder.mkdir(parents=True, exist_ok=True)
        places = ["--root", str(folder), "--runroot", str(folder / "run")]
        command = ("buildah", *places, "--storage-driver", driver)
        try:
            output_of([*command, "info"])
        except BuildError as error:
            problem = error
        else:
            return command
    raise problem


ROOT = Path(__file__).parents[2]


class Recipe(NamedTuple):
    """What one image is made from, in the repository. page: that says how."""

    dockerfile: str
    requirements: str
    page: Path = DEPLOY_PAGE


class Release(NamedTuple):
    """What the images of a release share. base: the image below them, by name."""

    version: str
    wheel: Path
    base: str


OURS = {
    "bokeh-autoscaler": Recipe("deploy/images/daemon.Dockerfile", "requirements/daemon.txt"),
    "bokeh-exporter": Recipe("deploy/images/exporter.Dockerfile", "requirements/exporter.txt"),
    "bokeh-example": Recipe(
        "deploy/images/example.Dockerfile", "deploy/images/example/requirements.txt"
    ),
}
# Large, and on no node unless somebody asks for them.
EXAMPLES = {
    "bokeh-big-data": Recipe(
        "deploy/examples/big-data/app.Dockerfile",
        "requirements/big-data.txt",
        BIG_DATA_PAGE,
    ),
    "bokeh-points": Recipe(
        "deploy/examples/big-data/service.Dockerfile",
        "requirements/big-data-service.txt",
        BIG_DATA_PAGE,
    ),
}


def our_image(name: str, release: Release | None = None) -> Path:
    """One of the images that we ship, built as its page says, without network. The archive.

    For tests, unless a release is given. Raises BuildError.
    """
    recipe = {**OURS, **EXAMPLES}[name]
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for path in ("requirements", Path(recipe.dockerfile).parent):
            shutil.copytree(ROOT / path, context / path, ignore=COMPILED)
        (context / "dist").mkdir()
        if release is None:
            tag, base = f"localhost/{name}:test", build_base()
            our_wheel(context / "dist")
        else:
            tag, base = f"{name}:{release.version}", release.base
            shutil.copy(release.wheel, context / "dist")
        shutil.copytree(wheels(ROOT / recipe.requirements, python_of(base)), context / "wheels")
        arguments = {"BASE": base, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/context/wheels"}
        dockerfile, printed = context / recipe.dockerfile, _printed(recipe)
        return build_image(tag, dockerfile, context, arguments, printed)


def pinned_base() -> str:
    """The base that our Dockerfiles name, by its digest, where a registry is reached."""
    [base] = {
        found
        for recipe in OURS.values()
        for found in re.findall(
            r"^ARG BASE=(\S+)$", (ROOT / recipe.dockerfile).read_text(), re.MULTILINE
        )
    }
    return f"docker.io/library/{base}"


@lru_cache
def python_of(base: str) -> str:
    """The version of Python in a base image, as `3.12`; the image is pulled if need be.

    Raises BuildError.
    """
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    return run_in(base, "python", "-c", asked).strip()


def run_in(image: str, *words: str) -> str:
    """What a program prints in an image, by name or as docker-archive:PATH. Raises BuildError."""
    container = _buildah("from", "--quiet", image).strip()
    try:
        return _buildah("run", "--isolation", "chroot", container, "--", *words)
    finally:
        _buildah("rm", container)


def _printed(recipe: Recipe) -> Sequence[str]:
    """The options of the `docker build` that the page for this image tells its reader to run."""
    return command(recipe.page, f"docker build -f {recipe.dockerfile}")[2:]


def prometheus_image() -> Path:
    """Prometheus 3 as `make parts` built it, under the name of the published image. The archive."""
    program = build(PROMETHEUS) / "prometheus"
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        shutil.copy(program, context)
        (context / "Dockerfile").write_text(
            'FROM scratch\nCOPY prometheus /\nENTRYPOINT ["/prometheus"]\n'
        )
        return build_image("localhost/prometheus:test", context / "Dockerfile", context)


def proxy_images() -> list[Path]:
    """nginx and HAProxy under the names of the published images, which end as those do."""
    return [
        program_image("localhost/nginx:test", "nginx", "STOPSIGNAL SIGQUIT"),
        program_image("localhost/haproxy:test", "haproxy", "STOPSIGNAL SIGUSR1"),
    ]


def wheels(requirements: Path, python: str = "3.11") -> Path:
    """The pinned dependencies as files for a Python, downloaded once as the page says."""
    target = cache() / "images" / f"wheels-{_digest([python], [requirements])}"
    with alone(target):
        if not target.is_dir():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            ours = {"3.12": python, "requirements/daemon.txt": requirements, "wheels": partial}
            printed = command(DEPLOY_PAGE, "pip download")[1:]
            _pip(*(str(ours.get(word, word)) for word in printed))
            partial.replace(target)
    return target


def our_wheel(folder: Path) -> None:
    """The wheel of the images for tests; with its commit, each would be built at every commit."""
    hatchling("wheel", ROOT, folder, **NO_COMMIT)


def _pip(*words: str) -> None:
    """Run pip, and again if that fails: an index that is busy may say that it has no such file."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    for _ in range(PIP_TRIES - 1):
        with suppress(BuildError):
            output_of(command)
            return
        time.sleep(PIP_PAUSE)
    output_of(command)


if __name__ == "__main__":
    print(*map(our_image, sys.argv[1:]), sep="\n")


def copy_wheels_of_bokeh(folder: Path) -> None:
    """Make a folder with the wheels of Bokeh and Panel, and of what they need."""
    folder.mkdir()
    for wheel in wheels(ROOT / "requirements" / "big-data.txt").iterdir():
        if wheel.name.partition("-")[0] not in NO_NEED_OF_BOKEH:
            shutil.copy(wheel, folder)
