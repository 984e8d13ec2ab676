"""What the command refuses, and that it says so in one line."""

from __future__ import annotations

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


@pytest.mark.parametrize("place", ["bokeh-autoscaler", "/name", "namespace/"])
def test_the_daemon_has_a_namespace_and_a_name(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", URL, "--daemon", place])

    assert ended.value.code == 2
    assert "expected NAMESPACE/NAME" in capsys.readouterr().err


def test_a_cluster_without_a_kubeconfig_hides_nothing_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", URL, *TARGET, "--kubeconfig", str(tmp_path / "nowhere")])

    said = capsys.readouterr().out
    assert code == 1
    assert said.count("not examined: ") == 2
    assert "ERROR page-does-not-open" in said
    assert "not examined: cannot connect to the Kubernetes API" in said
