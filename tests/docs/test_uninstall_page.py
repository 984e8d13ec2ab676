"""The page of the uninstallation names what our manifests create beside the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.cli import main
from tests.adoption import apps
from tests.deploy.pages import FOLDER, UNINSTALL_PAGE

OWN = "bokeh-autoscaler"


def shipped() -> Iterator[dict[str, Any]]:
    """All objects of the base and of the components that add objects to the cluster."""
    parts = ("base", "components/scaling-policies", "components/sticky-haproxy")
    for part in parts:
        for file in sorted((FOLDER / part).glob("*.yaml")):
            yield from (each for each in yaml.safe_load_all(file.read_text()) if each)


ELSEWHERE = {
    each["kind"]
    for each in shipped()
    if "metadata" in each and each["metadata"].get("namespace") != OWN
}


@pytest.mark.parametrize("kind", sorted(ELSEWHERE - {"Namespace", "CustomResourceDefinition"}))
def test_a_kind_that_is_created_elsewhere_is_on_the_page(kind: str) -> None:
    assert kind in UNINSTALL_PAGE.read_text()


def test_there_are_kinds_to_look_for() -> None:
    assert {"Role", "PriorityClass", "ValidatingAdmissionPolicy", "NetworkPolicy"} <= ELSEWHERE


def test_the_steps_name_every_part_that_the_adoption_added() -> None:
    text = UNINSTALL_PAGE.read_text()
    for part in ("command", "initContainers", "probe", "preStop", "grace period", "label"):
        assert part in text


def test_the_page_lists_what_the_folder_of_init_creates(tmp_path: Path) -> None:
    file = apps.write(tmp_path, apps.app(apps.BOKEH, apps.moved_to("team")))
    output = tmp_path / "adoption"
    assert main(["init", str(file), "--sticky", "haproxy", "--output", str(output)]) == 0
    part, text = "policy-team-dashboards", UNINSTALL_PAGE.read_text()
    rights = (f"{part}/rights.yaml", f"{part}/network.yaml", "prometheus-team/rights.yaml")

    for path in (*rights, "pods/budget.yaml"):
        for each in yaml.safe_load_all((output / path).read_text()):
            assert f"{each['kind']} `{each['metadata']['name']}`" in text, path
    for path in rights:
        assert f"`kubectl delete -f adoption/{path}`" in text
    for folder in ("pods", "sticky"):
        assert (output / folder / "kustomization.yaml").exists()
        assert f"`kubectl delete -k adoption/{folder}`" in text
