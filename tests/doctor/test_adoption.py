"""The app of "Adopt a running app", before and after: what is found says what the page adds."""

from __future__ import annotations

from typing import Any

import yaml

from autoscaler.doctor.facts import Facts
from autoscaler.model import TargetRef
from tests.deploy.pages import ADOPT_PAGE, files
from tests.doctor.set_ups import facts, found, right


def page(name: str, **selector: str) -> Facts:
    """The Deployment of a file of the page, and the page's Service with another selector."""
    texts = files(ADOPT_PAGE)
    deployment, *_ = yaml.safe_load_all(texts[name])
    _, service = yaml.safe_load_all(texts["dashboards.yaml"])
    service["spec"]["selector"] |= selector
    slices: Any = [
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "dashboards"}},
            "endpoints": [{"conditions": {"ready": True}}],
        }
    ]
    changed: Any = {"services": [service], "endpoint_slices": slices, "deployment": deployment}
    nothing = {"pods": [], "budgets": [], "network_policies": []}
    ref = TargetRef("bokeh", deployment["metadata"]["name"])
    return facts({**right(), **changed, **nothing}, ref=ref)


def test_before_it_everything_is_found_that_the_page_adds() -> None:
    assert set(found(page("dashboards.yaml"))) == {
        "label-missing-from-template",
        "label-missing-from-service",
        "no-exporter",
        "no-launcher",
        "grace-too-short",
        "token-expires-early",
        "session-discarded-early",
        "rollout-ends-pods-first",
        "no-signing-key",
        "no-disruption-budget",
    }


def test_after_it_only_what_the_page_says_is_found() -> None:
    after = page(
        "dashboards-2.yaml", **{"app": "dashboards-2", "bokeh-autoscaler/routable": "true"}
    )

    assert set(found(after)) == {
        "session-discarded-early",
        "no-signing-key",
        "no-disruption-budget",
    }
