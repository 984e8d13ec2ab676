"""The images that we ship: small, without root, from pinned wheels."""

from __future__ import annotations

import functools
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.go import BuildError
from tests.cluster.images import OURS, ROOT, our_image
from tests.cluster.one_node import problem

FOLDER = ROOT / "deploy" / "images"
MEGABYTE = 1_000_000
# Over the base; the example is an app's own affair but holds all of Bokeh and NumPy.
LARGEST = {"bokeh-autoscaler": 150, "bokeh-exporter": 40, "bokeh-example": 200}


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
    """An image from its Dockerfile; the test is skipped where that cannot be."""
    if reason := problem():
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {reason}")
    try:
        return read(our_image(name))
    except BuildError as error:
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {error}")


@pytest.mark.slow
@pytest.mark.timeout(900)  # the first one makes the base too
@pytest.mark.parametrize("name", OURS)
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

        assert f"opt/venv/bin/{image.config['Entrypoint'][0]}" in image.files
        assert not any(installers)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_exporter_has_one_dependency_and_nothing_of_the_daemon() -> None:
    files = built("bokeh-exporter").files
    found = (re.search(r"site-packages/(\w+)/__init__.py$", file) for file in files)

    assert {match[1] for match in found if match} == {"exporter", "prometheus_client"}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.Dockerfile")), ids=lambda file: file.stem)
class TestDockerfile:
    def test_takes_its_base_as_an_argument_in_every_stage(self, file: Path) -> None:
        text = file.read_text()

        assert re.search(r"^ARG BASE=\S+$", text, re.MULTILINE)
        assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}"] * 2

    def test_installs_nothing_but_pinned_wheels_and_ours(self, file: Path) -> None:
        installs = re.findall(r"pip install (.*?)(?: && |\n\n)", file.read_text(), re.DOTALL)

        assert len(installs) == 2
        assert "--require-hashes" in installs[0]
        assert "--no-deps" in installs[1]
        assert installs[1].rstrip(" \\\n").endswith("/context/dist/*.whl")


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
