"""`autoscaler convert`: what it prints, what it writes, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.cli import main
from tests.policies.files import table
from tests.policies.manifests import a_list, asked, cpu, external, hpa, scaled

HPA = hpa(metrics=[cpu()])


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a manifest to a file."""

    def write(value: Any) -> Path:
        path = tmp_path / "manifest.yaml"
        path.write_text(json.dumps(value))
        return path

    return write


def run(*words: object) -> int:
    return main(["convert", *map(str, words)])


def in_staging(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "metadata": {**value["metadata"], "namespace": "staging"}}


def test_the_policy_is_on_standard_output_and_the_rest_on_standard_error(
    manifest, tmp_path, capsys
):
    file = manifest(hpa(metrics=[cpu(), external("queue", value="30")]))

    assert run(file) == 0
    said = capsys.readouterr()

    policy = tmp_path / "policy.yaml"
    policy.write_text(said.out)
    assert main(["check", str(policy)]) == 0
    first, second = said.err.splitlines()
    assert first.startswith(f"{file}:1: spec.metrics[1]: an adapter in the cluster answers")
    assert second.startswith(f"{file}:1: spec.metrics: it scales by no sessions: set --seats N")


def test_what_kubectl_prints_is_read_from_standard_input(monkeypatch, capsys):
    stored = {**HPA, "status": {"currentReplicas": 3, "conditions": [{"type": "AbleToScale"}]}}
    text = json.dumps(a_list("List", stored)).encode()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text)))

    assert run("-", "--seats", "20") == 0
    said = capsys.readouterr()
    assert "  - {type: sessions, seats: 20, spare: {refuse: 0.1%}}\n" in said.out
    assert said.err == ""


CONDITIONS = [
    {"type": f"Condition{n}", "status": "True", "reason": "Reason", "lastTransitionTime": "2026"}
    for n in range(3)
]


def stored(number: int) -> dict[str, Any]:
    """An HPA as `kubectl get hpa -o yaml` prints it."""
    rules = {
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
    }
    value = hpa(
        metrics=[cpu(), external("queue", value="30")],
        behavior={"scaleUp": rules, "scaleDown": rules},
    )
    return {
        **value,
        "metadata": {
            **value["metadata"],
            "name": f"app-{number}",
            "annotations": {"kubectl.kubernetes.io/last-applied": json.dumps(value)},
        },
        "status": {"conditions": CONDITIONS, "currentMetrics": value["spec"]["metrics"]},
    }


def test_what_kubectl_prints_of_a_whole_cluster_is_read(manifest, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    file = manifest(a_list("List", *map(stored, range(400))))

    assert run(file, "--seats", 20, "--output", policies) == 0

    assert len([*policies.iterdir()]) == 400


BOMB = "a: &a [1]\n" + "".join(
    f"{one}: &{one} [*{other}, *{other}]\n"
    for other, one in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)
TOO_LARGE = {
    "more bytes": ("#" * (4 * 1024**2 + 1), "is larger than 4096 KiB"),
    "more values, with what looks like a template": (
        "[" + "1," * 100_001 + "'{{ a }}']",
        "more than 50000 values",
    ),
    "more values": ("[" + "1," * 100_001 + "]", "more than 50000 values"),
    "aliases that unfold": ("---\n".join([BOMB] * 50), "more than 50000 values"),
}


@pytest.mark.parametrize(("text", "told"), table(TOO_LARGE))
def test_a_manifest_that_is_too_large_is_told_in_one_line(tmp_path, text, told, capsys):
    file = tmp_path / "hpa.yaml"
    file.write_text(text)

    assert run(file) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_file_that_is_written_is_valid_and_named(manifest, tmp_path, capsys):
    output = tmp_path / "dash.yaml"

    assert run(manifest(HPA), "--seats", 20, "--output", output) == 0

    line = "policy dash for bokeh/dash, 2..12 replicas, metrics sessions, cpu"
    assert capsys.readouterr().out == f"{output}: {line}\n"
    assert main(["check", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: ok, {line}\n"


def test_a_file_that_exists_is_never_written(manifest, tmp_path, capsys):
    output = tmp_path / "dash.yaml"
    output.write_text("mine")

    assert run(manifest(HPA), "--seats", 20, "--output", output) == 2

    assert capsys.readouterr().err == f"{output}: exists; remove it, or set another --output\n"
    assert output.read_text() == "mine"


def test_several_go_into_a_directory(manifest, tmp_path, capsys):
    policies = tmp_path / "policies"
    policies.mkdir()
    file = manifest(a_list("List", HPA, in_staging(HPA), {"kind": "Service"}))

    assert run(file, "--seats", 20, "--output", policies) == 0

    assert sorted(each.name for each in policies.iterdir()) == [
        "dash-bokeh.yaml",
        "dash-staging.yaml",
    ]
    capsys.readouterr()
    assert main(["check", str(policies)]) == 0


def test_one_file_has_one_policy(manifest, capsys):
    assert run(manifest(a_list("List", HPA, in_staging(HPA)))) == 2
    wanted = "set --output to a directory that exists, such as policies/"
    told = f"2 policies (dash-bokeh, dash-staging), and a file has one: {wanted}\n"
    assert capsys.readouterr() == ("", told)


def test_two_of_one_name_and_namespace_overwrite_no_file(manifest, tmp_path, capsys):
    both = a_list("List", HPA, scaled(asked("sum(x)", "8")))

    assert run(manifest(both), "--seats", 20, "--output", tmp_path) == 2

    told = capsys.readouterr().err
    both_of = "dash-bokeh for bokeh/dash and bokeh/dash"
    assert told == f"policies of one name: {both_of}; convert each alone\n"
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.yaml"]


def test_a_name_with_its_namespace_that_is_the_name_of_another_is_told(manifest, tmp_path, capsys):
    other = {**in_staging(HPA), "metadata": {"name": "dash-bokeh", "namespace": "staging"}}

    assert run(manifest(a_list("List", HPA, in_staging(HPA), other)), "--output", tmp_path) == 2

    told = capsys.readouterr().err
    both_of = "dash-bokeh for bokeh/dash and staging/dash"
    assert told == f"policies of one name: {both_of}; convert each alone\n"
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.yaml"]


@pytest.mark.parametrize("end", ["/", "/."])
def test_a_directory_that_is_not_there_becomes_no_file(manifest, tmp_path, end, capsys):
    output = f"{tmp_path}/policies{end}"

    assert run(manifest(HPA), "--output", output) == 2

    told = capsys.readouterr().err
    assert told == f"{output}: is no directory; create it, or name a file\n"
    assert not (tmp_path / "policies").exists()


CLOSED = {
    "no standard input": ("- <&-", 2, "standard input: cannot be read (it is closed); name a"),
    "a standard input that cannot be read": (
        "- 0>OUTPUT",
        2,
        "standard input: cannot be read (Bad file descriptor)",
    ),
    "no standard output": ("FILE >&-", 1, "standard output: cannot be written (it is closed)"),
    "a full disk": ("FILE >/dev/full", 1, "standard output: cannot be written (No space left on"),
    "a full disk for the name of a file": (
        "FILE --output OUTPUT >/dev/full",
        1,
        "standard output: cannot be written (No space left on",
    ),
}


def in_shell(words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    main_of = "import sys; from autoscaler.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        ["/bin/sh", "-c", f"{before}{sys.executable} -Bc '{main_of}' convert --seats 20 {words}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_file_that_cannot_be_written_whole_is_not_left(manifest, tmp_path):
    output = tmp_path / "dash.yaml"
    done = in_shell(f"{manifest(HPA)} --output {output}", "ulimit -f 0; ")

    assert done.stderr == f"{output}: cannot be written (File too large)\n"
    assert done.returncode == 2
    assert not output.exists()


@pytest.mark.parametrize(("words", "code", "told"), table(CLOSED))
def test_closed_streams_and_full_disks_are_one_line(manifest, tmp_path, words, code, told):
    words = words.replace("FILE", str(manifest(HPA))).replace("OUTPUT", f"{tmp_path}/dash.yaml")
    done = in_shell(words)

    assert done.returncode == code, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith(told)


def test_an_autoscaler_that_is_skipped_is_named_beside_the_others(manifest, capsys):
    other = hpa(scaleTargetRef={"kind": "StatefulSet", "name": "db"})

    assert run(manifest(a_list("List", other, HPA)), "--seats", 20) == 0

    said = capsys.readouterr()
    assert said.out.startswith("# Converted from the HorizontalPodAutoscaler dash ")
    assert "items[0].kind: it scales a StatefulSet" in said.err


NOTHING = "has nothing to convert, expected a HorizontalPodAutoscaler or ScaledObject"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"kind": "Deployment"}, [f"{NOTHING}, found Deployment"], id="another object"),
        pytest.param(
            a_list("List", {"kind": "Service"}, {"kind": "ScaledJob"}, {"kind": "Service"}),
            ["items[1].kind: ScaledJob: not converted", f"{NOTHING}, found Service, ScaledJob"],
            id="several objects",
        ),
        pytest.param({"name": "dash", "target": {}}, [NOTHING], id="a policy"),
        pytest.param([1], [NOTHING], id="a list of numbers"),
        pytest.param(
            hpa(scaleTargetRef={"kind": "StatefulSet", "name": "db"}),
            ["it scales a StatefulSet", NOTHING],
            id="nothing but what no policy can scale",
        ),
        pytest.param(
            hpa(metrics=[cpu()], maxReplicas=1), ["min (2) is above max (1)"], id="wrong bounds"
        ),
    ],
)
def test_wrong_input_is_told_in_lines_and_writes_nothing(manifest, value, expected, capsys):
    assert run(manifest(value)) == 2

    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == len(expected)
    assert all(words in line for words, line in zip(expected, lines, strict=True))


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path, capsys):
    assert run(tmp_path / "none.yaml") == 2
    told = "none.yaml: cannot be read (No such file or directory), expected a YAML file"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("seats", ["0", "-1", "1.5", "many", "1000000", "٣"])
def test_seats_are_a_whole_number(manifest, seats, capsys):
    with pytest.raises(SystemExit) as end:
        run(manifest(HPA), f"--seats={seats}")

    assert end.value.code == 2
    assert "expected a whole number from 1 to 100000" in capsys.readouterr().err


def test_another_deployment_and_name_are_those_of_the_policy_and_its_queries(
    manifest, tmp_path, capsys
):
    amount = {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "500m"}}
    value = hpa(metrics=[{"type": "Resource", "resource": amount}])

    assert run(manifest(value), "--deployment", "dash-2", "--name", "team-dash", "--seats", 8) == 0

    said = capsys.readouterr().out
    (file := tmp_path / "policy.yaml").write_text(said)
    policy = load_policy(file)
    assert (policy.name, policy.target.deployment) == ("team-dash", "dash-2")
    assert 'pod=~"dash-2-' in said
    assert said.startswith("# Converted from the HorizontalPodAutoscaler dash ")


def test_another_deployment_is_of_one_autoscaler(manifest, capsys):
    other = hpa(metrics=[cpu()], scaleTargetRef={"kind": "Deployment", "name": "b"})

    assert run(manifest(a_list("List", HPA, other)), "--deployment", "dash-2") == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert "has 2 autoscalers, and --deployment and --name are for one" in said.err


@pytest.mark.parametrize("option", ["--deployment", "--name"])
@pytest.mark.parametrize("text", ["", "A", "-a", "a b", "a" * 300])
def test_another_name_is_one_that_kubernetes_takes(manifest, option, text, capsys):
    with pytest.raises(SystemExit) as end:
        run(manifest(HPA), f"{option}={text}")

    assert end.value.code == 2
    assert "lower-case letters, digits" in capsys.readouterr().err
