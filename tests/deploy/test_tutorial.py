"""The Service of the tutorial leads to the proxy and back, on a real API server."""

from __future__ import annotations

import pytest
import yaml

from tests.deploy.operators import NAMESPACE, Operator
from tests.deploy.pages import TUTORIAL, blocks, files, mentioned

SWITCH = "kubectl -n bokeh patch service dashboards"
OLD, PROXY = {"app": "dashboards"}, {"app.kubernetes.io/name": "sticky-haproxy"}


def service(operator: Operator) -> dict[str, str]:
    """What it selects pods by."""
    told = operator.run(f"kubectl -n {NAMESPACE} get service dashboards -o yaml")
    selector: dict[str, str] = yaml.safe_load(told)["spec"]["selector"]
    return selector


@pytest.mark.slow
@pytest.mark.control_plane
def test_new_users_are_sent_to_the_proxy_and_back(operator: Operator) -> None:
    (operator.folder / "dashboards.yaml").write_text(files(TUTORIAL)["dashboards.yaml"])
    operator.run("kubectl apply -f dashboards.yaml")
    [there] = [each for each in blocks(TUTORIAL, "sh") if each.startswith(SWITCH)]
    [back] = [each for each in mentioned(TUTORIAL) if each.startswith(SWITCH)]
    assert service(operator) == OLD

    for command, selected in ((there, PROXY), (back, OLD), (there, PROXY)):
        operator.run(command)
        assert service(operator) == selected
