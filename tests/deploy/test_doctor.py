"""`autoscaler doctor` is silent on every component that we ship, but on the HPA to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.chart import render_chart
from tests.deploy.manifests import Object, overlay, recommended, render
from tests.doctor.set_ups import REF, facts, found, seen_of

COMPONENTS = {
    "base alone": ((), []),
    "HAProxy": (("sticky-haproxy",), []),
    "nginx": (("sticky-nginx",), []),
    "an image that nobody changes": (("zero-touch",), []),
    "a token of the sidecars": (("sidecar-token",), []),
    "a Gateway": (("gateway-api",), []),
    "an HPA to compare with": (("hpa-cpu-only",), ["other-autoscaler"]),
}


@pytest.mark.parametrize("case", COMPONENTS)
def test_what_is_found_in_our_components(case: str, kubectl: Path, tmp_path: Path) -> None:
    components, wanted = COMPONENTS[case]

    assert list(found(of(render(kubectl, overlay(tmp_path / "app", components))))) == wanted


def test_nothing_is_found_in_what_we_recommend(kubectl: Path, tmp_path: Path) -> None:
    assert found(of(render(kubectl, recommended(tmp_path / "app")))) == {}


def test_nothing_is_found_in_what_the_chart_makes(helm: Path, tmp_path: Path) -> None:
    on = {"enabled": True}
    values = {"watchNamespaces": [REF.namespace], "example": on, "proxy": on}

    assert found(of(render_chart(helm, tmp_path, values))) == {}


def of(objects: list[Object]) -> Any:
    return facts(seen_of(objects), ref=REF)
