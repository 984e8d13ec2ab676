"""What the command refuses, and that it says so in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoscaler.cli import main

URL = "http://127.0.0.1:1/app"
TARGET = ("--namespace", "bokeh", "--deployment", "bokeh-app")
WRONG = {
    "nothing to examine": (),
    "a namespace without a Deployment": ("--namespace", "bokeh"),
    "a Deployment without a namespace": ("--deployment", "bokeh-app"),
    "an address without its scheme": ("dashboards.example.com",),
    "an address without a host": ("http://",),
    "an address with a port that cannot be": ("http://127.0.0.1:99999/app",),
    "an address with a login": ("http://user:secret@127.0.0.1:1/app",),
    "Prometheus without a target": (URL, "--prometheus-url", "http://127.0.0.1:1"),
    "a time to wait without an address": (*TARGET, "--wait", "60s"),
    "a header without an address": (*TARGET, "--header", "Cookie=a=b"),
    "a file that is not there": ("--policies", "nowhere.yaml"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *WRONG[case]]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_what_is_no_policy_in_a_directory_is_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [proxy.yaml]\nimages: []\n")
    (tmp_path / "proxy.yaml").write_text("apiVersion: v1\nkind: Service\nspec: {ports: []}\n")

    assert main(["doctor", "--policies", str(tmp_path)]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/proxy.yaml:2: kind: is a Service, expected a policy")


@pytest.mark.parametrize("place", ["bokeh-autoscaler", "/name", "namespace/"])
def test_the_daemon_has_a_namespace_and_a_name(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", URL, "--daemon", place])

    assert ended.value.code == 2
    assert "expected NAMESPACE/NAME" in capsys.readouterr().err


# What curl takes for a header, and what no header can have.
HEADERS = ("Authorization: Basic dTpwdw==", "Authorization: Basic", "X=a\nb", "=b")


@pytest.mark.parametrize("given", HEADERS)
def test_a_header_has_a_name_and_a_value_of_one_line(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", URL, "--header", given])

    assert ended.value.code == 2
    assert "expected NAME=VALUE" in capsys.readouterr().err


# What may be in a file that is given as kubeconfig.
KUBECONFIGS = {
    "no YAML": "{{{",
    "a list": "[]",
    "a text": "text",
    "contexts that are a number": "current-context: a\ncontexts: 5\n",
    "a context without its fields": "current-context: a\ncontexts: [{name: a}]\n",
    "a context that is null": "current-context: a\ncontexts: [null]\n",
}


@pytest.mark.parametrize("case", KUBECONFIGS)
def test_a_file_that_is_no_kubeconfig_is_said_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIGS[case])

    code = main(["doctor", *TARGET, "--kubeconfig", str(file)])

    said = capsys.readouterr().out.splitlines()
    assert code == 1
    assert said[0] == "nothing found in what could be examined"
    [problem] = said[1:]
    assert problem.startswith("not examined: cannot connect to the Kubernetes API: ")
    assert problem.endswith("; set --kubeconfig")
    assert "object" not in problem or "is no object of kind Config" in problem, "words of Python"


def test_a_target_that_could_not_be_examined_is_not_ok(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere")

    assert main(["doctor", *TARGET, "--kubeconfig", nowhere, "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_cluster_without_a_kubeconfig_hides_nothing_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", URL, *TARGET, "--kubeconfig", str(tmp_path / "nowhere")])

    said = capsys.readouterr().out
    assert code == 1
    assert said.count("not examined: ") == 2
    assert "ERROR page-does-not-open" in said
    assert "not examined: cannot connect to the Kubernetes API" in said
