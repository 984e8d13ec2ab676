"""The bill of materials names what is in an image, as its layers leave it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from tests.lab.go import BuildError
from tests.lab.images import OURS, ROOT, our_image
from tests.lab.real_node import problem
from tests.lab.wheels import project_version
from tests.supply_chain.audit import pins
from tests.supply_chain.sbom import write

PACKAGES = "opt/venv/lib/python3.12/site-packages"
RELEASE = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'
DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: a library
 with a second line

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
APK = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nC:Q2\nP:busybox\nV:1.37-r1\nA:x86_64\n"


def metadata(name: str, version: str, *lines: str) -> dict[str, str]:
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines])
    return {f"{PACKAGES}/{name.replace('-', '_')}-{version}.dist-info/METADATA": text + "\n"}


def tar_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def saved(folder: Path, *layers: Mapping[str, str], tag: str = "registry/team/app:1.2") -> Path:
    """An archive as `docker save` writes it."""
    tars = {
        f"{number}/layer.tar": tar_of({name: text.encode() for name, text in layer.items()})
        for number, layer in enumerate(layers)
    }
    manifest = [{"Config": "c.json", "RepoTags": [tag], "Layers": list(tars)}]
    archive = folder / "image.tar"
    archive.write_bytes(tar_of({**tars, "manifest.json": json.dumps(manifest).encode()}))
    return archive


def bill(archive: Path, folder: Path) -> dict[str, Any]:
    """What is written, which the schema of CycloneDX accepts."""
    text = write(archive, folder).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    result: dict[str, Any] = json.loads(text)
    return result


def purls(bill: Mapping[str, Any]) -> set[str]:
    return {component["purl"] for component in bill.get("components", ())}


def test_python_and_debian_packages_are_named_with_their_versions(tmp_path: Path) -> None:
    archive = saved(
        tmp_path,
        {"etc/os-release": RELEASE, "var/lib/dpkg/status": DPKG},
        metadata("h11", "0.16.0") | metadata("Prometheus-Client", "0.26.0"),
    )

    told = bill(archive, tmp_path)

    assert purls(told) == {
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:pypi/h11@0.16.0",
        "pkg:pypi/prometheus-client@0.26.0",
    }
    image = told["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", "app", "1.2")


def test_alpine_packages_are_named_too(tmp_path: Path) -> None:
    release = "ID=alpine\nVERSION_ID=3.22.1\n"
    archive = saved(tmp_path, {"etc/os-release": release, "lib/apk/db/installed": APK})

    assert purls(bill(archive, tmp_path)) == {
        "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.22.1",
        "pkg:apk/alpine/busybox@1.37-r1?arch=x86_64&distro=alpine-3.22.1",
    }


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (f"{PACKAGES}/.wh.h11-0.16.0.dist-info", set()),
        (f"{PACKAGES}/.wh..wh..opq", set()),
        (f"{PACKAGES}/.wh.h1", {"pkg:pypi/h11@0.16.0"}),
    ],
    ids=["the package", "the folder", "another file"],
)
def test_what_a_later_layer_deletes_is_not_in_the_image(
    tmp_path: Path, gone: str, left: set[str]
) -> None:
    archive = saved(tmp_path, metadata("h11", "0.16.0"), {gone: ""})

    assert purls(bill(archive, tmp_path)) == left


def test_a_package_that_a_later_layer_updates_is_named_once(tmp_path: Path) -> None:
    old = {f"{PACKAGES}/.wh.h11-0.15.0.dist-info": ""}
    archive = saved(tmp_path, metadata("h11", "0.15.0"), old | metadata("h11", "0.16.0"))

    assert purls(bill(archive, tmp_path)) == {"pkg:pypi/h11@0.16.0"}


def test_licenses_and_what_a_package_needs_are_told(tmp_path: Path) -> None:
    uses = ("Requires-Dist: h11>=0.16", 'Requires-Dist: gone; extra == "big"')
    told = bill(
        saved(
            tmp_path,
            metadata("h11", "0.16.0", "License-Expression: MIT"),
            metadata("ours", "1", *uses),
        ),
        tmp_path,
    )

    [h11] = [each for each in told["components"] if each["name"] == "h11"]
    assert h11["licenses"] == [{"license": {"id": "MIT"}}]
    needs = {each["ref"]: each.get("dependsOn", []) for each in told["dependencies"]}
    assert needs["pkg:pypi/ours@1"] == ["pkg:pypi/h11@0.16.0"]
    assert needs["registry/team/app:1.2"] == ["pkg:pypi/h11@0.16.0", "pkg:pypi/ours@1"]


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OURS)
def test_our_images_have_the_pinned_packages_and_no_others(name: str, tmp_path: Path) -> None:
    if reason := problem():
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {reason}")
    try:
        archive = our_image(name)
    except BuildError as error:
        pytest.skip(f"NO IMAGES ARE BUILT HERE: {error}")

    found = purls(bill(archive, tmp_path))

    python = {each.split("/")[1] for each in found if each.startswith("pkg:pypi/")}
    locked = {f"{canonicalize_name(n)}@{v}" for n, v in pins([ROOT / OURS[name].requirements])}
    assert python - locked == {f"bokeh-autoscaler@{project_version()}"}
    assert {each.split("@")[0] for each in python} >= {each.split("@")[0] for each in locked}
    assert any(each.startswith("pkg:deb/debian/libc6@") for each in found)
