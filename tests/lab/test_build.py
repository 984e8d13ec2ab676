"""The real components are built once, and who cannot build them reads why in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.build import KUBERNETES, Component, Files, build, build_all, installed
from tests.lab.go import BuildError, go_command, go_version

# Stands in for Go: writes the file after -o and counts its calls, or fails as a compiler would.
# Any module is in its own folder.
GO = """#!/bin/sh
[ "$1" = version ] && echo "go version go1.99.0 linux/amd64" && exit
[ -f "$0.broken" ] && exec >&2 && echo "go: downloading it" && echo "main.go:7: undefined: Scale" \\
  && exit 1
[ "$1" = mod ] && exit
[ "$1" = list ] && echo "${0%/*}" && exit
echo built >> "$0.calls"
while [ "$1" != -o ]; do shift; done
echo program > "$2"
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Go that is the only program on the PATH, and an empty cache."""
    folder = tmp_path / "go"
    folder.mkdir()
    program = folder / "go"
    program.write_text(GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("BOKEH_AUTOSCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return program


def component(
    folder: Path, packages: Mapping[str, str], kind: type[Component] = Component
) -> Component:
    module = folder / "sample"
    module.mkdir()
    for name in ("go.mod", "go.sum", "tools.go"):
        (module / name).write_text(name)
    return kind(module.name, module, packages, ("-tags", "one"))


def test_each_program_is_built_once(tmp_path: Path, go: Path) -> None:
    sample = component(tmp_path, {"alpha": "example.org/alpha", "beta": "example.org/beta"})
    assert installed(sample) is None
    folder = build(sample)
    assert build(sample) == installed(sample) == folder
    assert (go.with_suffix(".calls")).read_text().count("built") == 2


def test_only_what_is_missing_is_built_again(tmp_path: Path, go: Path) -> None:
    sample = component(tmp_path, {"alpha": "example.org/alpha", "beta": "example.org/beta"})
    (build(sample) / "beta").unlink()
    build(sample)
    assert (go.with_suffix(".calls")).read_text().count("built") == 3


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "tools.go"])
def test_another_pin_is_another_folder(tmp_path: Path, go: Path, name: str) -> None:
    sample = component(tmp_path, {"alpha": "example.org/alpha"})
    before = sample.folder
    (sample.module / name).write_text("changed")
    assert sample.folder != before


def test_other_flags_are_another_folder(tmp_path: Path, go: Path) -> None:
    sample = component(tmp_path, {"alpha": "example.org/alpha"})
    assert replace(sample, flags=("-tags", "two")).folder != sample.folder


def test_a_failed_build_is_one_line_that_names_the_log(
    tmp_path: Path, go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go.with_suffix(".broken").touch()
    sample = component(tmp_path, {"alpha": "example.org/alpha"})
    assert build_all([sample]) == 1
    assert capsys.readouterr().err == (
        "sample: alpha could not be built: main.go:7: undefined: Scale "
        f"(all of it: {sample.folder / 'alpha.log'})\n"
    )
    assert installed(sample) is None


def test_a_file_of_a_module_is_taken_as_it_is(tmp_path: Path, go: Path) -> None:
    sample = component(tmp_path, {"go": "example.org/alpha"}, Files)

    assert (build(sample) / "go").read_text() == go.read_text()


def test_a_module_that_cannot_be_had_is_one_line(
    tmp_path: Path, go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go.with_suffix(".broken").touch()
    sample = component(tmp_path, {"go": "example.org/alpha"}, Files)

    assert build_all([sample]) == 1

    said = capsys.readouterr().err
    assert said == "sample: go cannot be had: main.go:7: undefined: Scale\n"


def test_the_programs_of_kubebuilder_assets_are_taken_as_they_are(
    tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    for program in KUBERNETES.packages:
        (tmp_path / program).touch()
    assert build(KUBERNETES) == installed(KUBERNETES) == tmp_path


def test_kubebuilder_assets_without_controllers_are_refused_by_name(
    tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    for program in ("etcd", "kube-apiserver", "kubectl"):
        (tmp_path / program).touch()
    with pytest.raises(BuildError, match="has no kube-controller-manager, kube-scheduler: unset"):
        build(KUBERNETES)
    assert installed(KUBERNETES) is None


@pytest.mark.parametrize(
    ("says", "version"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26, 8), id="a release"),
        pytest.param("go version go1.27 linux/arm64", (1, 27, 0), id="a release without a patch"),
        pytest.param("go version go1.28rc1 linux/amd64", (1, 28, 0), id="a candidate"),
        pytest.param("something else", (), id="no Go at all"),
    ],
)
def test_the_version_of_go_is_read(tmp_path: Path, says: str, version: tuple[int, ...]) -> None:
    program = tmp_path / "go"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    assert go_version(str(program)) == version


def test_a_go_that_is_new_enough_is_used(go: Path) -> None:
    assert go_command() == str(go)
