"""What the deployment pages tell an operator to write and to read is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import BIG_DATA, FOLDER, one, pod_specs, render

PAGES = (FOLDER / "README.md", FOLDER.parent / "README.md", BIG_DATA / "README.md")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_commands_name_files_that_exist(page: Path) -> None:
    for path in re.findall(r"(?:deploy|requirements)/[\w./-]+\w", "".join(blocks(page, "sh"))):
        assert (FOLDER.parents[1] / path).exists(), path


def test_the_overlay_of_the_page_renders(kubectl: Path, tmp_path: Path) -> None:
    overlay, patch = blocks(PAGES[0], "yaml")
    here = os.path.relpath(FOLDER, tmp_path)
    text = overlay.replace("../bokeh-autoscaler/deploy/kubernetes", here) + patch
    (tmp_path / "kustomization.yaml").write_text(text)

    objects = render(kubectl, tmp_path)

    daemon = dict(pod_specs(objects))["bokeh-autoscaler"]["containers"][0]
    assert "--scrape-interval=15s" in daemon["args"]
    assert daemon["image"] == "registry.example.com/bokeh-autoscaler:0.1.0"
    app = dict(pod_specs(objects))["bokeh-app"]["containers"][0]
    assert app["image"] == "registry.example.com/my-app:1"
    assert one(objects, "Service", "prometheus")["metadata"]["namespace"] == "bokeh"


def test_the_settings_of_an_untouched_app_are_of_a_container() -> None:
    [environment] = blocks(PAGES[1], "yaml")

    [variable] = yaml.safe_load(environment)["env"]

    folder = Path(variable["value"]).relative_to("/bokeh-exporter")
    assert (FOLDER.parents[1] / folder / "sitecustomize.py").is_file()


def test_the_overlay_with_dask_renders(kubectl: Path, tmp_path: Path) -> None:
    [text] = blocks(PAGES[2], "yaml")
    here = os.path.relpath(BIG_DATA, tmp_path)
    overlay = text.replace("../bokeh-autoscaler/deploy/examples/big-data", here)
    (tmp_path / "kustomization.yaml").write_text(overlay)

    deployments = dict(pod_specs(render(kubectl, tmp_path)))

    assert {"bokeh-app", "points", "dask-scheduler", "dask-worker"} <= set(deployments)
