"""Our Helm chart as an operator gets it: rendered by the real helm.

`python -m tests.deploy.chart` brings the policies' part of the chart's schema up to date.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifests import FOLDER, Object
from tests.lab.build import HELM, installed

CHART = FOLDER.parent / "helm" / "bokeh-autoscaler"
VALUES_SCHEMA = CHART / "values.schema.json"
POLICY_SCHEMA = FOLDER.parents[1] / "policies" / "schema.json"
RELEASE, NAMESPACE = "bokeh-autoscaler", "bokeh-autoscaler"

Values = dict[str, Any]


def helm() -> Path | None:
    """The built helm, or the machine's own."""
    if programs := installed(HELM):
        return programs / "helm"
    found = shutil.which("helm")
    return Path(found) if found else None


def run_helm(program: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """helm with what it prints and complains of, whatever its exit status."""
    command = [str(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def values_file(folder: Path, values: Values) -> Path:
    """An operator's values.yaml in `folder`."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def template(
    program: Path,
    folder: Path,
    values: Values,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
) -> subprocess.CompletedProcess[str]:
    """`helm template` with an operator's values, written into `folder`."""
    file = values_file(folder, values)
    return run_helm(program, "template", release, CHART, "--namespace", namespace, "-f", file)


def render_chart(program: Path, folder: Path, values: Values, **where: str) -> list[Object]:
    """The objects that the chart renders. where: as of `template`. Fails with what helm says."""
    result = template(program, folder, values, **where)
    assert result.returncode == 0, result.stderr
    return [each for each in yaml.safe_load_all(result.stdout) if each]


def policy_definitions() -> dict[str, Any]:
    """`$defs` of the chart's schema: a policy, and one whose name and target the chart gives."""
    policy = json.loads(POLICY_SCHEMA.read_text())
    definitions: dict[str, Any] = policy.pop("$defs")
    del policy["$schema"], policy["title"]
    policy["properties"]["metrics"]["items"] = _by_type(policy["properties"]["metrics"]["items"])
    given = ("name", "target")
    example = {
        **policy,
        "properties": {k: v for k, v in policy["properties"].items() if k not in given},
        "required": [key for key in policy["required"] if key not in given],
    }
    return {**definitions, "Policy": policy, "ExamplePolicy": example}


def _by_type(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the kind of a metric by its type: of `oneOf`, helm tells what each kind lacks."""
    by_name = kinds["discriminator"]["mapping"]
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": sorted(by_name)}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": reference},
            }
            for name, reference in sorted(by_name.items())
        ],
    }


def main() -> None:
    """Write the definitions of policies/schema.json into the chart's schema."""
    schema = json.loads(VALUES_SCHEMA.read_text())
    schema["$defs"] = policy_definitions()
    VALUES_SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
