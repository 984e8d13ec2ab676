"""What is in an image, as CycloneDX: `make sbom`.

python -m tests.supply_chain.sbom [--into FOLDER] [ARCHIVE ...]
Takes archives as `docker save` writes them; without one it builds our own images.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lab.images import OURS, our_image

# All that this module reads of an image.
TOLD = re.compile(
    r"(.*/(site|dist)-packages/[^/]+\.dist-info/METADATA"
    r"|var/lib/dpkg/status|var/lib/dpkg/status\.d/[^/]+"  # the folder is that of distroless images
    r"|(usr/)?lib/apk/db/installed|(etc|usr/lib)/os-release)$"
)
ENDING = ".cdx.json"
GONE = ".wh."  # a layer has such a file for each that it deletes
GONE_ALL = ".wh..wh..opq"


def bill_of(archive: Path) -> Bom:
    """The image, its Python packages with what each needs, and those of Debian or Alpine."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as content:
        [manifest] = json.load(_open(content, "manifest.json"))
        root = Path(folder)
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_open(content, layer)) as files:
                _lay_over(root, files)
        image = _image(next(iter(manifest["RepoTags"] or []), archive.stem))
        bom = Bom()
        bom.metadata.component = image
        python = dict(_python_packages(root))
        system = _system_packages(root)
        for component in (*python, *system):
            bom.components.add(component)
        _depend(bom, image, python, system)
        return bom


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{archive.name}: {name} is no file: write the archive with `docker save`")
    return file


def _lay_over(root: Path, layer: tarfile.TarFile) -> None:
    """Do to the folder what a layer does to the layers below it."""
    members = [(PurePosixPath("/", each.name).relative_to("/"), each) for each in layer]
    for path, _ in members:
        if path.name.startswith(GONE):
            hidden = "" if path.name == GONE_ALL else path.name.removeprefix(GONE)
            _remove(root / path.parent / hidden)
    for path, member in members:
        if member.isfile() and TOLD.match(str(path)):
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_open(layer, member.name).read())


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _image(name: str) -> Component:
    repository, _, tag = name.rpartition("/")[2].partition(":")
    return Component(
        type=ComponentType.CONTAINER, name=repository, version=tag or None, bom_ref=name
    )


def _python_packages(root: Path) -> Iterator[tuple[Component, Distribution]]:
    for each in sorted(root.rglob("*.dist-info/METADATA")):
        found = Distribution.at(each.parent)
        name, version = canonicalize_name(found.name), found.version
        license_text = found.metadata.get("License-Expression")
        licenses = [LicenseFactory().make_from_string(license_text)] if license_text else ()
        yield (
            _package(name, version, PackageURL("pypi", name=name, version=version), licenses),
            found,
        )


def _package(
    name: str, version: str, purl: PackageURL, licenses: Iterable[License] = ()
) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=licenses,
    )


def _system_packages(root: Path) -> list[Component]:
    dpkg = [root / "var/lib/dpkg/status", *(root / "var/lib/dpkg/status.d").glob("*")]
    return [*_debian(root, dpkg), *_alpine(root)]


def _release(root: Path) -> tuple[str, str]:
    """The distribution and its version, as `debian` and `12`."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        if (root / place).is_file():
            words = dict(
                re.findall(r'^(\w+)="?([^"\n]*)', (root / place).read_text(), re.MULTILINE)
            )
            return words.get("ID", "linux"), words.get("VERSION_ID", "")
    return "linux", ""


def _debian(root: Path, files: Iterable[Path]) -> Iterator[Component]:
    system, version = _release(root)
    for text in (file.read_text() for file in files if file.is_file()):
        for stanza in filter(str.strip, text.split("\n\n")):
            told = Parser().parsestr(stanza)
            if told["Status"] in (None, "install ok installed") and told["Package"]:
                about = {"arch": told["Architecture"], "distro": f"{system}-{version}"}
                purl = PackageURL("deb", system, told["Package"], told["Version"], about)
                yield _package(told["Package"], told["Version"], purl)


def _alpine(root: Path) -> Iterator[Component]:
    system, version = _release(root)
    text = "\n\n".join(file.read_text() for file in root.glob("**/lib/apk/db/installed"))
    for stanza in filter(str.strip, text.split("\n\n")):
        told = dict(re.findall(r"^([PVA]):(.*)$", stanza, re.MULTILINE))
        about = {"arch": told["A"], "distro": f"{system}-{version}"}
        purl = PackageURL("apk", system, told["P"], told["V"], about)
        yield _package(told["P"], told["V"], purl)


def _depend(
    bom: Bom, image: Component, python: dict[Component, Distribution], system: list[Component]
) -> None:
    """The image has all of them; a Python package needs what it requires without an extra."""
    by_name = {component.name: component for component in python}
    for component, found in python.items():
        needed = map(Requirement, found.requires or ())
        names = [canonicalize_name(each.name) for each in needed if _is_needed(each)]
        targets = [by_name[name].bom_ref for name in names if name in by_name]
        bom.dependencies.add(Dependency(component.bom_ref, map(Dependency, targets)))
    everything = (each.bom_ref for each in (*python, *system))
    bom.dependencies.add(Dependency(image.bom_ref, map(Dependency, everything)))


def _is_needed(requirement: Requirement) -> bool:
    return requirement.marker is None or "extra" not in str(requirement.marker)


def write(archive: Path, folder: Path) -> Path:
    """Write the bill of an archive into a folder. The file."""
    bom = bill_of(archive)
    assert bom.metadata.component is not None
    target = folder / f"{bom.metadata.component.name}{ENDING}"
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    return target


def main() -> None:
    """Write one file for each image, and print its path."""
    parser = argparse.ArgumentParser(description="Write what is in images, as CycloneDX JSON.")
    parser.add_argument("archives", nargs="*", type=Path, help="as `docker save` writes them")
    parser.add_argument("--into", type=Path, default=Path("dist"), help="folder (default: dist)")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    for archive in options.archives or map(our_image, OURS):
        print(write(archive, options.into))


if __name__ == "__main__":
    main()
