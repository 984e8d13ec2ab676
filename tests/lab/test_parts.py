"""`make parts` goes on without what cannot be had, and says so in one line each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import parts
from tests.lab import real_node as one_node
from tests.lab.build import Component
from tests.lab.parts import PACKAGES, main, node_packages

# Stands in for apt-get: knows a package only after an update, as a fresh image does.
APT = """#!/bin/sh
for word; do last=$word; done
[ "$last" = update ] && { [ -f "$0.offline" ] || : > "$0.lists"; exit 0; }
[ -f "$0.lists" ] || { echo "E: Unable to locate package $last" >&2; exit 100; }
for word; do
  case $word in -*|*=*|install) continue ;; chromium-driver) word=chromedriver ;; esac
  printf '#!/bin/sh\\n' > "${0%/*}/$word" && /bin/chmod +x "${0%/*}/$word"
done
"""
# Stands in for a Go that cannot reach its modules.
GO = """#!/bin/sh
[ "$1" = version ] && echo "go version go1.99.0 linux/amd64" && exit
echo "no such module" && exit 1
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, empty, and an empty cache; no rule for services."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("BOKEH_AUTOSCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parts, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setenv("POLICY", str(parts.POLICY))
    return folder


def add(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def found(programs: Path) -> list[str]:
    return [f"{name} (packaged): {programs / program}" for name, program in PACKAGES.items()]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_packages_that_are_there_are_left_alone(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for program in PACKAGES.values():
        add(programs, program, "#!/bin/sh\n")
    assert main([]) == 0
    assert lines(capsys) == found(programs)


def test_without_apt_each_missing_package_is_one_loud_line(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert lines(capsys) == [
        f"NOT AVAILABLE: {name}: no apt-get here or not root: tests that need it are skipped; "
        f"to get it: sudo apt-get install {name}"
        for name in PACKAGES
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_root_gets_the_packages_even_from_old_package_lists(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(programs, "apt-get", APT)
    assert main([]) == 0
    installed = [line for line in lines(capsys) if "installing" not in line]
    assert installed == found(programs)


# Stands in for apt-get: says what the machine's rule for new services is at that time.
ASKS_THE_RULE = '#!/bin/sh\n"$POLICY" && answer=0 || answer=$?\necho "rule: $answer" >&2\nexit 1\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_no_service_of_a_package_is_started(programs: Path) -> None:
    add(programs, "apt-get", ASKS_THE_RULE)

    assert "rule: 101" in parts.packaged("alpha", "alpha")

    assert not parts.POLICY.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_the_machines_own_rule_for_services_stays(programs: Path) -> None:
    add(programs, "apt-get", ASKS_THE_RULE)
    add(parts.POLICY.parent, parts.POLICY.name, "#!/bin/sh\nexit 104\n")

    assert "rule: 104" in parts.packaged("alpha", "alpha")

    assert parts.POLICY.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_a_package_that_apt_does_not_find_is_one_loud_line(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(programs, "apt-get", APT)
    (programs / "apt-get.offline").touch()
    assert main([]) == 0
    loud = [line for line in lines(capsys) if line.startswith("NOT AVAILABLE")]
    assert [line.split(": tests")[0] for line in loud] == [
        f"NOT AVAILABLE: {name}: E: Unable to locate package {name}" for name in PACKAGES
    ]


def test_a_node_with_all_its_packages_is_left_alone(programs: Path) -> None:
    for name in ("alpha", "beta"):
        add(programs, name, "#!/bin/sh\n")
    wanted = {"a-tools": "alpha", "b-tools": "beta"}
    assert node_packages(wanted) == "one-node cluster (packaged): a-tools, b-tools"


def test_packages_of_a_node_that_cannot_be_had_are_one_loud_line(programs: Path) -> None:
    add(programs, "alpha", "#!/bin/sh\n")
    assert node_packages({"a": "alpha", "b": "beta", "c": "gamma"}) == (
        "NOT AVAILABLE: one-node cluster: no apt-get here or not root: tests that need it are "
        "skipped; to get it: sudo apt-get install b c"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_root_gets_the_packages_of_a_node_at_once(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(programs, "apt-get", APT)
    line = node_packages({"alpha": "alpha", "beta": "beta"})
    assert line == "one-node cluster (packaged): alpha, beta"
    assert lines(capsys) == ["alpha beta (packaged): installing with apt-get"]
    assert (programs / "alpha").is_file()
    assert (programs / "beta").is_file()


def test_a_component_that_does_not_build_is_one_loud_line_and_no_failure(
    tmp_path: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(programs, "go", GO)
    module = tmp_path / "sample"
    module.mkdir()
    for name in ("go.mod", "go.sum", "tools.go"):
        (module / name).touch()
    sample = Component(module.name, module, {"alpha": "example.org/alpha"}, ())
    assert main([sample]) == 0
    assert lines(capsys)[-1] == (
        "NOT AVAILABLE: sample (built): alpha could not be built: no such module "
        f"(all of it: {sample.folder / 'alpha.log'}): tests that need it are skipped; "
        "to get it: mend this, then python -m tests.lab.build sample"
    )


@pytest.mark.parametrize(("words", "code"), [(["--or-skip"], 0), ([], 1)])
def test_a_machine_that_cannot_have_a_node_says_in_one_line_what_is_not_run(
    programs: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    assert not list(programs.iterdir())

    assert one_node.main([*words, "--", "pytest", "-m", "node"]) == code

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("NO KUBERNETES NODE: ")
    assert ("; SKIPPED: pytest -m node" in line) is (code == 0)
