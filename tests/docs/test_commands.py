"""No command is printed for an operator that no test runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.pages import FIRST_PAGE, PAGES, POLICIES_PAGE, commands

ROOT = Path(__file__).parents[2]
WITH_COMMANDS = (FIRST_PAGE, POLICIES_PAGE, *PAGES)
# What runs the whole suite runs these first; see the Makefile.
SUITE = "Makefile"
ON_THE_NODE = "tests/node/test_pages.py::test_the_commands_of_the_kubernetes_page_work"
BY_HELM = "tests/deploy/test_helm_page.py::test_the_commands_of_the_page_work"
BUILT = "tests/cluster/images.py::our_image"  # by buildah, which takes the same arguments
WHEEL = "tests/deploy/test_images.py::test_the_printed_command_makes_the_wheel"
LAUNCHED = "tests/exporter/servers.py::bokeh_serve"
NGINX = "tests/proxies/test_install.py::test_nginx_takes_our_files_beside_those_of_the_distribution"
HAPROXY = "tests/proxies/test_install.py::test_haproxy_finds_no_fault_with_our_files"
ADMITTED = "tests/deploy/test_admission.py::test_every_pod"
COMMAND_LINE = "tests/docs/test_command_line.py::test_a_command_that_is_printed_works"
DAEMON = "tests/cluster/test_daemon.py"
# By the beginning of a command, the longest that fits: what runs it. Empty: the reader's own part.
RUN_BY = {
    "make demo": "tests/demo/test_demo.py::test_the_demo_grows_shrinks_reports",
    "make test": SUITE,
    "make install": SUITE,
    "make cluster": "tests/cluster/test_live.py::test_it_says_where_everything_is",
    "autoscaler check": COMMAND_LINE,
    "autoscaler simulate": COMMAND_LINE,
    "autoscaler decide": f"{DAEMON}::test_one_pass_and_one_decision_from_the_command_line",
    "autoscaler run": f"{DAEMON}::test_it_scales_up_and_down_with_the_sessions",
    "bokeh-exporter launch": LAUNCHED,
    "bokeh-exporter launch --metrics-port": "tests/exporter/test_without_sidecar.py::test_",
    "bokeh-exporter sidecar": LAUNCHED,
    "panel serve": "tests/exporter/test_without_sidecar.py::test_",
    "pip install": "tests/cluster/environment.py::Environment",
    "pip wheel": WHEEL,
    "pip download": "tests/cluster/images.py::wheels",
    "docker build": BUILT,
    "kubectl": ON_THE_NODE,
    "kubectl apply -k deploy/examples/big-data": f"{ADMITTED}_of_the_big_data_example",
    "make big-data": "tests/big_data/test_live.py::test_both_servers_are_there",
    "python -m big_data.make": "tests/big_data/servers.py::make",
    "BIG_DATA_FOLDER=data python -m uvicorn": "tests/big_data/servers.py::service",
    "BIG_DATA_FOLDER=data BIG_DATA_SERVICE=": "tests/big_data/servers.py::app",
    "curl": "tests/big_data/test_service.py::test_a_question_of_the_page_is_answered",
    "helm": BY_HELM,
    "sudo mkdir -p /etc/nginx": NGINX,
    "sudo cp deploy/nginx": NGINX,
    "sudo rm -f /etc/nginx": NGINX,
    "sudo nginx": NGINX,
    "sudo mkdir -p /etc/haproxy": HAPROXY,
    "sudo cp deploy/haproxy": HAPROXY,
    "haproxy -c": HAPROXY,
    "echo 'CONFIG=": HAPROXY,
    'echo "set server': "tests/proxies/programs.py::_say_as_told",
}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_something_runs_every_command_of_a_page(page: Path) -> None:
    for command in commands(page):
        fitting = [beginning for beginning in RUN_BY if command.startswith(beginning)]

        assert fitting, f"{page}: nothing runs `{command}`"


def test_what_runs_them_is_there() -> None:
    for place in filter(None, RUN_BY.values()):
        file, _, name = place.partition("::")
        text = (ROOT / file).read_text()
        assert re.search(rf"(def|class) {name}", text) or file == SUITE, place


def test_no_beginning_is_left_over() -> None:
    printed = [command for page in WITH_COMMANDS for command in commands(page)]

    for beginning in RUN_BY:
        assert any(command.startswith(beginning) for command in printed), beginning
