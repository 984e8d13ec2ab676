"""Our rules and our dashboard: what is in them, and the copies that other formats need.

`python -m tests.deploy.monitoring` brings the copies up to date: the PrometheusRule of the
component, and the chart's files, for a chart can read only what is below it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.chart import CHART
from tests.deploy.manifests import FOLDER

ROOT = FOLDER.parents[1]
RULES = ROOT / "deploy" / "monitoring" / "rules" / "bokeh-autoscaler.yaml"
DASHBOARD = ROOT / "deploy" / "monitoring" / "dashboard" / "bokeh-autoscaler.json"
PROMETHEUS_RULE = FOLDER / "components" / "monitoring" / "prometheusrule.yaml"

Rule = dict[str, Any]


@cache
def rules() -> tuple[Rule, ...]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return tuple(rule for group in groups for rule in group["rules"])


def alerts() -> dict[str, Rule]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recordings() -> dict[str, Rule]:
    return {rule["record"]: rule for rule in rules() if "record" in rule}


@cache
def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Panel and letter to expression, with Grafana's variables as they stand."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }


def filled(expression: str, namespace: str, deployment: str) -> str:
    """An expression with Grafana's variables filled in, for a few minutes of data."""
    values = {
        "$namespace": namespace,
        "${deployment}": deployment,
        "$deployment": deployment,
        "$__rate_interval": "1m",
        "$__range": "5m",
    }
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    return expression


def copies() -> dict[Path, str]:
    """What each copy of the rules and of the dashboard should hold."""
    indented = re.sub("^(?=.)", "  ", RULES.read_text(), flags=re.MULTILINE)
    rule = (
        "# Made from deploy/monitoring by `python -m tests.deploy.monitoring`.\n"
        "apiVersion: monitoring.coreos.com/v1\n"
        "kind: PrometheusRule\n"
        "metadata:\n"
        "  name: bokeh-autoscaler\n"
        "  namespace: bokeh-autoscaler\n"
        f"spec:\n{indented}"
    )
    return {
        PROMETHEUS_RULE: rule,
        CHART / "files" / "rules.yaml": RULES.read_text(),
        CHART / "files" / "dashboard.json": DASHBOARD.read_text(),
    }


def main() -> None:
    for path, content in copies().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
