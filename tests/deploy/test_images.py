"""The images that we ship: small, without root, from pinned wheels."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter import cli
from tests.deploy.pages import DASHBOARD_PAGE, DEPLOY_PAGE, blocks, command, run_shell
from tests.lab.go import BuildError
from tests.lab.images import (
    EXAMPLES,
    NO_COMMIT,
    OURS,
    ROOT,
    build_base,
    build_image,
    copy_wheels_of_bokeh,
    our_image,
    our_wheel,
    wheels,
)
from tests.lab.real_node import problem
from tests.lab.wheels import PARTS

FOLDER = ROOT / "deploy" / "images"
MEGABYTE = 1_000_000
# Over the base; the examples are an app's own affair but hold all of Bokeh, NumPy, Arrow, Dask.
LARGEST = {
    "bokeh-autoscaler": 150,
    "bokeh-exporter": 40,
    "bokeh-example": 200,
    "bokeh-points": 300,
    "bokeh-big-data": 900,
}


@dataclass(frozen=True)
class Image:
    """What a docker archive says of itself; sizes in bytes, the base's layers left out."""

    config: dict[str, Any]
    own_bytes: int
    files: frozenset[str]


def read(archive: Path) -> Image:
    with tarfile.open(archive) as content:
        [manifest] = json.loads(_member(content, "manifest.json"))
        own = manifest["Layers"][1:]  # the local base has one layer
        files: set[str] = set()
        for layer in own:
            with tarfile.open(fileobj=content.extractfile(layer)) as inner:
                files.update(inner.getnames())
        return Image(
            json.loads(_member(content, manifest["Config"]))["config"],
            sum(content.getmember(layer).size for layer in own),
            frozenset(files),
        )


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


@functools.cache
def built(name: str) -> Image:
    """An image as its page says to build it; the test is skipped where that cannot be."""
    return built_here(lambda: our_image(name))


def built_here(build: Callable[[], Path]) -> Image:
    if reason := problem():
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {reason}")
    try:
        return read(build())
    except BuildError as error:
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {error}")


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)  # the first one makes the base too
@pytest.mark.parametrize("name", [*OURS, *EXAMPLES])
class TestImage:
    def test_is_small(self, name: str) -> None:
        size = built(name).own_bytes

        print(f"{name}: {size / MEGABYTE:.1f} MB over its base")
        assert size <= LARGEST[name] * MEGABYTE

    def test_runs_as_nobody_in_particular(self, name: str) -> None:
        # A number: by a name the kubelet could not tell that it is not root.
        assert built(name).config["User"] == "65532:65532"

    def test_has_what_it_runs_and_no_installer(self, name: str) -> None:
        image = built(name)
        installers = (re.search(r"site-packages/(pip|setuptools)/", f) for f in image.files)

        assert any(f"opt/venv/bin/{word}" in image.files for word in image.config["Entrypoint"])
        assert not any(installers)


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)
def test_the_exporter_has_two_dependencies_and_nothing_of_the_daemon() -> None:
    files = built("bokeh-exporter").files
    found = (re.search(r"site-packages/(\w+)/__init__.py$", file) for file in files)

    assert {match[1] for match in found if match} == {"exporter", "h11", "prometheus_client"}


@pytest.mark.slow
def test_the_printed_command_makes_the_wheel_that_the_images_have(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (*PARTS, "policies"):
        (copy / name).symlink_to(ROOT / name)
    # Without an index: what builds it is in the environment of the tests.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", **NO_COMMIT}
    run_shell(shlex.join(command(DEPLOY_PAGE, "pip wheel")), copy, **offline)

    our_wheel(tmp_path / "ours")

    [printed], [ours] = (list(f.iterdir()) for f in (copy / "dist", tmp_path / "ours"))
    assert printed.name == ours.name
    assert printed.read_bytes() == ours.read_bytes()


def own_image(folder: Path) -> Path:
    """What the page adds to an image, added to one that has Python and finds wheels in a folder."""
    shutil.copytree(wheels(ROOT / OURS["bokeh-exporter"].requirements), folder / "wheels")
    our_wheel(folder / "dist")
    [ours] = blocks(DEPLOY_PAGE, "dockerfile")
    (folder / "Dockerfile").write_text(
        f"FROM {build_base()}\n"
        "RUN python -m venv /opt/venv\n"
        "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PATH=/opt/venv/bin:$PATH\n"
        f"COPY wheels /wheels\n{ours}"
    )
    return build_image("localhost/own-app:test", folder / "Dockerfile", folder)


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)
def test_an_image_of_your_own_starts_your_app_through_the_launcher(tmp_path: Path) -> None:
    image = built_here(lambda: own_image(tmp_path))

    launcher, *words = image.config["Entrypoint"]
    assert f"opt/venv/bin/{launcher}" in image.files
    launched = cli.parser().parse_args([*words, *image.config["Cmd"]])
    assert launched.command == ["--", *image.config["Cmd"]]


def dashboard_image(folder: Path) -> Path:
    """What the page adds to the daemon's image, built on ours, with wheels in its folder."""
    copy_wheels_of_bokeh(folder / "wheels")
    [text] = blocks(DASHBOARD_PAGE, "dockerfile")
    _, rest = text.split("\n", 1)
    (folder / "Dockerfile").write_text(
        f"FROM docker-archive:{our_image('bokeh-autoscaler')}\n"
        f"ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\nCOPY wheels /wheels\n{rest}"
    )
    return build_image("localhost/dashboard:test", folder / "Dockerfile", folder)


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)
def test_the_image_of_the_dashboard_is_the_daemons_with_bokeh(tmp_path: Path) -> None:
    image = built_here(lambda: dashboard_image(tmp_path))

    assert image.config["Entrypoint"] == ["autoscaler"]
    assert image.config["User"] == "65532:65532"
    assert any(each.endswith("site-packages/bokeh/__init__.py") for each in image.files)


def stages(dockerfile: Path) -> list[str]:
    """What each stage begins with."""
    return re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)


def installs(dockerfile: Path) -> list[str]:
    """What each `pip install` is told."""
    joined = dockerfile.read_text().replace("\\\n", " ")
    return [each.strip() for each in re.findall(r"pip install ([^&\n]*)", joined)]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.Dockerfile")), ids=lambda file: file.stem)
class TestDockerfile:
    def test_takes_its_base_as_an_argument_that_names_one_by_digest(self, file: Path) -> None:
        assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", file.read_text(), re.MULTILINE)
        assert stages(file) == ["${BASE}", "build", "${BASE}"]

    def test_installs_nothing_but_pinned_wheels_and_ours(self, file: Path) -> None:
        pinned, ours = installs(file)

        assert "--require-hashes" in pinned
        assert "--no-deps" in ours
        assert ours.endswith("/build/*.whl")


def pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.MULTILINE)
    return dict(found)


def test_sidecar_and_app_agree_on_every_package_that_both_have() -> None:
    ours = pins(ROOT / "requirements" / "exporter.txt")
    apps = pins(FOLDER / "example" / "requirements.txt")

    assert ours
    assert {name: apps[name] for name in ours if name in apps} == {
        name: version for name, version in ours.items() if name in apps
    }
