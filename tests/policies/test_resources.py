"""ScalingPolicies: a policy as a Kubernetes object, in a file, and beside files."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from autoscaler.adapters.policies.joined import FilesAndResources
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from tests.builders import policy
from tests.fakes import FakeResources
from tests.policies.files import problems_of, table

GOOD = """\
apiVersion: bokeh-autoscaler.io/v1alpha1
kind: ScalingPolicy
metadata:
  name: dashboards
  namespace: bokeh
spec:
  target:
    deployment: bokeh-app
  replicas:
    min: 2
    max: 20
  metrics:
    - type: sessions
      seats: 20
"""


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_its_name_has_the_namespace_and_its_target_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "resource.yaml"
    file.write_text(GOOD)

    loaded = load_policy(file)

    assert loaded.name == "bokeh/dashboards"
    assert loaded.target.ref == TargetRef("bokeh", "bokeh-app")
    assert loaded.replicas.max == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    table(
        {
            "a value that does not fit": (
                edited("min: 2", "min: 30"),
                "9: spec.replicas: min (30) is above max (20): expected min <= max",
            ),
            "an unknown key": (
                edited("seats: 20", "seats: 20\n      chair: 3"),
                "15: spec.metrics[0].chair: unknown key, expected one of type, seats, learn, spare",
            ),
            "a value that is none in YAML": (
                edited("max: 20", "max: 0x14"),
                "11: spec.replicas.max: got 0x14, expected a whole number in plain decimal digits",
            ),
            "a text that is not YAML": (
                edited("    deployment: bokeh-app", "    deployment: {bokeh-app"),
                "9: not valid YAML: ",
            ),
            "a list of them, as kubectl prints it": (
                "kind: List\nitems:\n- " + indent(GOOD, "  ").strip(),
                "4: items[0].kind: is a ScalingPolicy in a list, expected it alone in a file",
            ),
            "a version of the future": (
                edited("v1alpha1", "v2"),
                '1: apiVersion: got "bokeh-autoscaler.io/v2", expected bokeh-autoscaler.io/v1al',
            ),
            "no name": (
                edited("  name: dashboards\n", ""),
                "3: metadata.name: is missing, expected name: dashboards",
            ),
            "a name that no policy may have": (
                edited("name: dashboards", "name: a.b"),
                "4: metadata.name: got",
            ),
            "no namespace": (
                edited("  namespace: bokeh\n", ""),
                "3: metadata.namespace: is missing, expected namespace: bokeh",
            ),
            "a name where a file has it": (
                edited("spec:\n", "spec:\n  name: other\n"),
                "7: spec.name: is the name of the policy already in metadata.name",
            ),
            "a target in another namespace": (
                edited("deployment: bokeh-app", "deployment: bokeh-app\n    namespace: other"),
                '9: spec.target.namespace: got "other", expected the namespace of the',
            ),
            "no target": (
                edited("  target:\n    deployment: bokeh-app\n", ""),
                "6: spec.target: is missing, expected target: {deployment: bokeh-app}",
            ),
            "no spec": (
                GOOD[: GOOD.index("spec:")] + "spec: many\n",
                "6: spec.target: is missing, expected target: {deployment: bokeh-app}",
            ),
            "metadata that is a list": (
                GOOD.replace("  name: dashboards\n  namespace: bokeh\n", "  - dashboards\n"),
                "3: metadata.name: is missing, expected name: dashboards",
            ),
        }
    ),
)
def test_a_wrong_one_is_told_by_line_and_path(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "resource.yaml"
    file.write_text(text)

    assert problems_of(file)[0].startswith(expected)


def named(name: str, deployment: str) -> Policy:
    return policy(name=name, target={"namespace": "bokeh", "deployment": deployment})


def test_files_and_objects_are_active_side_by_side() -> None:
    files, objects = FakeResources(named("a", "one")), FakeResources(named("bokeh/b", "two"))
    both = FilesAndResources(files, objects)

    loaded = both.load()

    assert [each.name for each in loaded.policies] == ["a", "bokeh/b"]
    assert loaded.files["bokeh/b"] == "bokeh/b"
    assert both.load() is loaded, "nothing has changed"
    objects.hold()
    assert [each.name for each in both.load().policies] == ["a"]


def test_of_an_object_and_a_file_for_one_deployment_the_file_is_active() -> None:
    files, objects = FakeResources(named("a", "one")), FakeResources(named("bokeh/b", "one"))

    loaded = FilesAndResources(files, objects).load()

    assert [each.name for each in loaded.policies] == ["a"]
    [words] = loaded.problems["bokeh/b"]
    assert words.startswith("bokeh/b: bokeh/one is also the target of a, which is active")
    assert loaded.resources.keys() == {"bokeh/b"}, "it is told so"
