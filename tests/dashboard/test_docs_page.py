"""docs/dashboard.md: its commands are understood, and its pod serves what its proxy asks for."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from autoscaler.commands.catalog import parser_of
from tests.deploy.pages import DASHBOARD_PAGE, STATUS_PAGE, blocks, printed

OURS = [each for each in printed(DASHBOARD_PAGE) if each.startswith("autoscaler dashboard -")]


@pytest.mark.parametrize("command", OURS)
def test_the_printed_commands_are_understood(command: str) -> None:
    _, name, *words = shlex.split(command, comments=True)

    args = parser_of(name).parse_args(words)
    assert args.listen == ("127.0.0.1", 9552)
    assert args.prometheus_url == "http://localhost:9090"


def objects() -> dict[str, dict[str, Any]]:
    """What the page creates, by kind."""
    [text] = blocks(DASHBOARD_PAGE, "yaml")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def containers() -> dict[str, list[str]]:
    pod: dict[str, Any] = objects()["Deployment"]["spec"]["template"]["spec"]
    return {each["name"]: each["args"] for each in pod["containers"]}


def test_the_printed_objects_belong_together() -> None:
    found = objects()
    deployment, binding = found["Deployment"]["spec"], found["RoleBinding"]
    pod = deployment["template"]["spec"]

    assert deployment["selector"]["matchLabels"] == found["Service"]["spec"]["selector"]
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", **found["ServiceAccount"]["metadata"]}
    ]
    roles = [
        each["metadata"]["name"]
        for text in blocks(STATUS_PAGE, "yaml")
        for each in yaml.safe_load_all(text)
        if each["kind"] == "Role"
    ]
    assert binding["roleRef"]["name"] in roles


def test_the_printed_pod_is_whole() -> None:
    name, *words = containers()["dashboard"]
    page = parser_of(name).parse_args(words)
    login = dict(each.removeprefix("--").split("=", 1) for each in containers()["login"])

    host, port = page.listen
    assert host == "127.0.0.1", "nothing but the proxy of the pod reaches it"
    assert login["upstream"] == f"http://{host}:{port}{page.prefix}/"
    seen = urlsplit(login["redirect-url"])
    assert page.allow_origin == [seen.netloc]
    assert seen.path == f"{login['proxy-prefix']}/callback"
    assert login["proxy-prefix"].startswith(f"{page.prefix}/")
