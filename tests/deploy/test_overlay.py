"""What `autoscaler init` writes for the overlay of the daemon, held to the real kustomize."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.cli import main
from tests.adoption import apps
from tests.deploy.manifests import FOLDER, Object, one, render
from tests.deploy.pages import KUBERNETES_PAGE, blocks, files
from tests.lab.build import PROMETHEUS, installed

OWN = "bokeh-autoscaler"
# Apps of one name in two namespaces, and two apps in one.
APPS = (("bokeh", "dashboards"), ("team", "dashboards"), ("team", "forecast"))


def adopted(folder: Path, namespace: str, name: str) -> Path:
    """The folder that the command writes for an app."""
    (place := folder / f"{namespace}-{name}").mkdir()
    text = json.dumps(apps.app(apps.BOKEH, apps.moved_to(namespace))).replace("dashboards", name)
    file = apps.write(place, json.loads(text))
    assert main(["init", str(file), "--output", str(place / "adoption")]) == 0
    return place / "adoption"


def told(steps: str) -> list[str]:
    """The components that the steps have the operator copy and add."""
    return list(dict.fromkeys(re.findall(r"copy the folder \S+/(\S+) into", steps)))


def overlay(folder: Path, adoptions: Iterable[Path]) -> Path:
    """The overlay of the page without the example, with what the steps add to it."""
    whole: Any = yaml.safe_load(files(KUBERNETES_PAGE)["daemon/kustomization.yaml"])
    (folder / "bokeh-autoscaler").symlink_to(FOLDER.parents[1])
    (place := folder / "daemon").mkdir()
    for each in adoptions:
        for name in told((each / "STEPS.md").read_text()):
            if not (place / name).exists():  # of a namespace: once for all of its apps
                (each / name).rename(place / name)
                whole["components"].append(name)
    (place / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return place


@pytest.fixture
def objects(kubectl: Path, tmp_path: Path) -> list[Object]:
    """What an overlay with all of the apps makes."""
    adoptions = [adopted(tmp_path, *each) for each in APPS]
    return render(kubectl, overlay(tmp_path, adoptions))


def scaled(objects: Iterable[Object]) -> set[tuple[str, str]]:
    """The namespaces and names of the Deployments that Roles let the daemon scale."""
    return {
        (each["metadata"]["namespace"], name)
        for each in objects
        if each["kind"] == "Role"
        for rule in each["rules"]
        if "deployments/scale" in rule["resources"]
        for name in rule["resourceNames"]
    }


def test_an_overlay_has_the_policies_of_several_apps(objects: list[Object], tmp_path: Path) -> None:
    policies = one(objects, "ConfigMap", f"{OWN}-policies")["data"]

    targets = set()
    for name, text in policies.items():
        (tmp_path / name).write_text(text)
        targets.add(str(load_policy(tmp_path / name).target.ref))
    assert targets == {"bokeh/dashboards-2", "team/dashboards-2", "team/forecast-2"}
    assert {tuple(each.split("/")) for each in targets} <= scaled(objects)


def test_the_example_is_left_out_of_such_an_overlay(objects: list[Object]) -> None:
    assert not [each for each in objects if each["metadata"]["name"] == "bokeh-app"]


def test_without_an_app_there_is_no_policy_and_no_right_for_all(
    kubectl: Path, tmp_path: Path
) -> None:
    found = render(kubectl, overlay(tmp_path, ()))

    assert not one(found, "ConfigMap", f"{OWN}-policies").get("data")
    rules = [rule for each in found if each["kind"] == "Role" for rule in each["rules"]]
    [scale] = [rule for rule in rules if "deployments/scale" in rule["resources"]]
    assert scale["resourceNames"], "a rule without names is one for all Deployments"


def test_a_second_app_leaves_the_example_where_it_is_wanted(kubectl: Path, tmp_path: Path) -> None:
    place = overlay(tmp_path, [adopted(tmp_path, *APPS[0])])
    file = place / "kustomization.yaml"
    whole = yaml.safe_load(file.read_text())
    whole["components"] = [each for each in whole["components"] if "example" not in each]
    file.write_text(yaml.safe_dump(whole))

    found = render(kubectl, place)

    policies = one(found, "ConfigMap", f"{OWN}-policies")["data"]
    assert set(policies) == {"bokeh-app.yaml", "dashboards.yaml"}
    assert {("bokeh", "bokeh-app"), ("bokeh", "dashboards-2")} == scaled(found)


def test_a_policy_of_ones_own_is_merged_as_the_page_says(kubectl: Path, tmp_path: Path) -> None:
    place = overlay(tmp_path, [adopted(tmp_path, *APPS[0])])
    (place / "own.yaml").write_text("name: own")
    name, file = f"{OWN}-policies", place / "kustomization.yaml"
    added = {"name": name, "namespace": OWN, "behavior": "merge", "files": ["own.yaml"]}
    whole = {**yaml.safe_load(file.read_text()), "configMapGenerator": [added]}
    whole["generatorOptions"] = {"disableNameSuffixHash": True}
    file.write_text(yaml.safe_dump(whole))

    found = one(render(kubectl, place), "ConfigMap", name)["data"]

    assert set(found) == {"dashboards.yaml", "own.yaml"}


def test_the_steps_show_the_line_that_adds_the_policy(tmp_path: Path) -> None:
    for each in APPS:
        output = adopted(tmp_path, *each)
        lines = [yaml.safe_load(text) for text in blocks(output / "STEPS.md", "yaml")]
        [part] = [name for name in told((output / "STEPS.md").read_text()) if "policy" in name]
        assert {"components": [part]} in lines


def test_prometheus_scrapes_one_more_namespace(objects: list[Object], tmp_path: Path) -> None:
    found = one(objects, "ConfigMap", "prometheus")["data"]
    for name, text in found.items():
        (tmp_path / name).write_text(text)
    [pattern] = yaml.safe_load(found["prometheus.yml"])["scrape_config_files"]
    [jobs] = [yaml.safe_load(each.read_text()) for each in tmp_path.glob(pattern)]
    [job] = jobs["scrape_configs"]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": ["team"]}}]
    roles = [
        each["roleRef"]["name"]
        for each in objects
        if each["kind"] == "RoleBinding" and each["metadata"]["namespace"] == "team"
    ]
    assert sorted(roles) == [f"{OWN}-dashboards-2", f"{OWN}-forecast-2", "prometheus"]
    programs = installed(PROMETHEUS)
    if programs is None:
        pytest.skip("NO PROMTOOL: `make parts` builds it (2 min once)")
    check = (programs / "promtool", "check", "config", "--lint=all", "--lint-fatal")
    done = subprocess.run(
        (*check, tmp_path / "prometheus.yml"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
