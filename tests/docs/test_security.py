"""The threat model claims nothing that no test shows."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from autoscaler.commands import run
from autoscaler.commands.catalog import COMMANDS, parser_of
from exporter import cli as exporter
from tests.deploy.test_network_policies import ALLOWED, READERS, RECOMMENDED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
RIGHTS = ROOT / "deploy" / "kubernetes" / "base" / "rbac.yaml"


def section(title: str) -> str:
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("found", sorted(set(NAMED.findall(PAGE.read_text()))), ids="::".join)
def test_each_test_that_the_page_names_is_there(found: tuple[str, str]) -> None:
    file, name = found

    assert (ROOT / file).is_file()
    assert not name or name in functions(file)


@pytest.mark.parametrize("row", rows("The threat model"), ids=lambda row: row[0][:40])
def test_each_row_of_the_threat_model_has_all_its_cells_and_a_test(row: list[str]) -> None:
    assert len(row) == 5
    assert all(row)
    assert NAMED.search(row[4])


VERBS = re.compile(r"\b(get|list|watch|create|update|patch|delete|deletecollection)\b")
# How the page says in which namespace a right is, where it makes a difference.
WHERE = {"bokeh": "in the namespaces of apps", "bokeh-autoscaler": "in the daemon's namespace"}


def rights() -> set[tuple[str, str]]:
    """Resource and verb of each right of the page."""
    return {
        (place(resource, cells[0]), verb)
        for cells in rows("What the daemon may do, and why")
        for resource in re.findall(r"`([\w/]+)`", cells[0])
        for verb in VERBS.findall(cells[1])
    }


def place(resource: str, words: str) -> str:
    """A resource; of Leases, which are in both namespaces, also where."""
    if resource != "leases":
        return resource
    return next(f"leases {each}" for each in WHERE.values() if each in words)


def roles() -> set[tuple[str, str]]:
    """The same of the Roles that we ship."""
    every = yaml.safe_load_all(RIGHTS.read_text())
    return {
        (place(resource, WHERE[role["metadata"]["namespace"]]), verb)
        for role in every
        for rule in role.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_each_verb_of_the_roles_has_its_reason_and_the_page_tells_no_other() -> None:
    assert rights() == roles()


def test_every_right_has_a_reason() -> None:
    assert all(len(cells) == 3 and cells[2] for cells in rows("What the daemon may do, and why"))


# By the page's name of who connects: the pods that the tests of the NetworkPolicies connect from.
CLIENTS = {"proxy": {"haproxy"}, "Prometheus": READERS, "daemon": {"daemon"}}
# By the page's name of what is connected to: the Deployment of our manifests.
SERVERS = {
    "app's pods": "bokeh-app",
    "sidecars": "bokeh-app",
    "daemon": "bokeh-autoscaler",
    "HAProxy": "sticky-haproxy",
    "Prometheus": "prometheus",
}
FLOWS = rows("What flows on the network")


def connections() -> Iterator[tuple[str, int, set[str]]]:
    """The Deployment, the port and the clients of each row that a NetworkPolicy decides about."""
    for client, server, port, *_ in FLOWS:
        if client in CLIENTS and server in SERVERS:
            yield SERVERS[server], int(port), CLIENTS[client]


def test_whoever_the_page_names_may_connect_and_nobody_else() -> None:
    told: dict[tuple[str, int], set[str]] = {}
    for name, port, clients in connections():
        told.setdefault((name, port), set()).update(clients)

    allowed = {place: RECOMMENDED[place] for place in told}
    # The policy of our Prometheus also admits itself.
    allowed["prometheus", 9090] = ALLOWED["prometheus", 9090] - {"Prometheus"}
    assert told == allowed


def test_the_page_has_every_port_that_a_policy_closes_to_somebody() -> None:
    ours = {"bokeh-app", "bokeh-autoscaler", "prometheus", "sticky-haproxy"}
    ports = {port for (name, port), who in RECOMMENDED.items() if name in ours and who}

    assert ports <= {int(each) for cells in FLOWS for each in re.findall(r"\d+", cells[2])}


@pytest.mark.parametrize(
    ("server", "option"), [("API server", "--kubeconfig"), ("Prometheus", "--prometheus-url")]
)
def test_every_command_that_connects_is_in_the_row_of_its_server(server: str, option: str) -> None:
    [told] = (row[0] for row in FLOWS if row[0].startswith("you, with") and row[1] == server)
    connecting = {
        name
        for name in COMMANDS
        for each in parser_of(name, "autoscaler")._actions
        if option in each.option_strings
    }

    assert set(re.findall(r"`(\w+)`", told)) == connecting - {"run"}


def test_the_ports_are_the_defaults_of_the_programs() -> None:
    daemon = argparse.ArgumentParser()
    run.add_arguments(daemon)
    needed = ["--policies", ".", "--prometheus-url", "http://prometheus:9090"]
    options = daemon.parse_args(needed)

    assert (options.exporter_port, options.listen[1]) == (9550, 9551)
    assert exporter.parser().parse_args(["sidecar"]).port == 9550


# By the module, or its package, which opens connections or takes them: the row that tells of it.
OF_THE_NETWORK = {
    "autoscaler/adapters/http/": "daemon",
    "autoscaler/adapters/prometheus/": "daemon",
    "autoscaler/adapters/kubernetes/": "daemon",
    "autoscaler/adapters/bokeh_pages.py": "you, with `doctor` and `users`",
    "autoscaler/adapters/browser.py": "you, with `doctor` and `users`",
    "autoscaler/adapters/visitor.py": "you, with `doctor` and `users`",
    "autoscaler/demo/": "",  # on loopback, in `autoscaler demo` alone
    "autoscaler/control/leadership.py": "",  # asyncio, for its loop
    "exporter/": "agents, launcher, sidecar",
}
CLIENTS_OF_THE_NETWORK = re.compile(
    r"^(socket|socketserver|ssl|urllib\.request|urllib3|http\.(client|server)|requests|kubernetes"
    r"|prometheus_api_client|websockets|tornado|httpx|aiohttp|asyncio)(\.|$)"
)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_no_other_module_can_connect_to_anything() -> None:
    files = [*(ROOT / "autoscaler").rglob("*.py"), *(ROOT / "exporter").rglob("*.py")]
    able = {
        str(file.relative_to(ROOT))
        for file in files
        if any(map(CLIENTS_OF_THE_NETWORK.match, imports(file)))
    }

    assert [name for name in sorted(able) if not name.startswith(tuple(OF_THE_NETWORK))] == []
    assert [each for each in OF_THE_NETWORK if not any(n.startswith(each) for n in able)] == []
    clients = {cells[0] for cells in FLOWS}
    assert {row for row in OF_THE_NETWORK.values() if row} <= clients


def test_the_page_and_the_way_to_report_lead_to_each_other() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE.read_text()
