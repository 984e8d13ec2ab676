"""The Service of the tutorial leads to the proxy and back, on a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.operators import NAMESPACE, Operator
from tests.deploy.pages import ADOPT_PAGE, TUTORIAL, UNINSTALL_PAGE, blocks, files, mentioned

SWITCH = "kubectl -n bokeh patch service dashboards"
OLD, PROXY = {"app": "dashboards"}, {"app.kubernetes.io/name": "sticky-haproxy"}


def started(operator: Operator) -> None:
    """Start the app of the tutorial, with a new Service."""
    (operator.folder / "dashboards.yaml").write_text(files(TUTORIAL)["dashboards.yaml"])
    operator.run("kubectl -n bokeh delete service dashboards --ignore-not-found")
    operator.run("kubectl apply -f dashboards.yaml")


def spec(operator: Operator) -> dict[str, Any]:
    told = operator.run(f"kubectl -n {NAMESPACE} get service dashboards -o yaml")
    found: dict[str, Any] = yaml.safe_load(told)["spec"]
    return found


def service(operator: Operator) -> dict[str, str]:
    """What it selects pods by."""
    selector: dict[str, str] = spec(operator)["selector"]
    return selector


@pytest.mark.slow
@pytest.mark.control_plane
def test_new_users_are_sent_to_the_proxy_and_back(operator: Operator) -> None:
    started(operator)
    [there] = [each for each in blocks(TUTORIAL, "sh") if each.startswith(SWITCH)]
    [back] = [each for each in mentioned(TUTORIAL) if each.startswith(SWITCH)]
    assert service(operator) == OLD

    for command, selected in ((there, PROXY), (back, OLD), (there, PROXY)):
        operator.run(command)
        assert service(operator) == selected


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("page", [TUTORIAL, ADOPT_PAGE], ids=["to the proxy", "to the pods"])
def test_the_uninstallation_leaves_the_service_as_it_was(page: Path, operator: Operator) -> None:
    started(operator)
    before = spec(operator)
    there, *_ = [each for each in blocks(page, "sh") if each.startswith(SWITCH)]
    [back] = [each for each in blocks(UNINSTALL_PAGE, "sh") if each.startswith(SWITCH)]
    operator.run(there)
    assert spec(operator)["selector"] != before["selector"]

    operator.run(back)

    assert spec(operator) == before
