"""No command is printed for an operator that no test runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.pages import DEPLOY_PAGE, HELM_PAGE, KUBERNETES_PAGE, PROXY_PAGES, commands

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, DEPLOY_PAGE, KUBERNETES_PAGE, HELM_PAGE, *PROXY_PAGES)
# What runs the whole suite runs these first; see the Makefile.
SUITE = "Makefile"
ON_THE_NODE = "tests/node/test_pages.py::test_the_commands_of_the_kubernetes_page_work"
BY_HELM = "tests/deploy/test_helm_page.py::test_the_commands_of_the_page_work"
IMAGES = "tests/deploy/test_images.py::built"
OFFLINE = "tests/cluster/images.py::our_image"  # the Dockerfiles, from wheels fetched before
LAUNCHED = "tests/exporter/servers.py::bokeh_serve"
NGINX = "tests/proxies/test_install.py::test_nginx_takes_our_files_beside_those_of_the_distribution"
HAPROXY = "tests/proxies/test_install.py::test_haproxy_finds_no_fault_with_our_files"
COMMAND_LINE = "tests/docs/test_command_line.py::test_a_command_that_is_printed_works"
DAEMON = "tests/cluster/test_daemon.py"
# By the beginning of a command, the longest that fits: what runs it. Empty: the reader's own part.
RUN_BY = {
    "make demo": "tests/demo/test_demo.py::test_the_demo_grows_shrinks_reports",
    "make test": SUITE,
    "make install": SUITE,
    "make cluster": SUITE,
    "autoscaler check": COMMAND_LINE,
    "autoscaler simulate": COMMAND_LINE,
    "autoscaler decide": f"{DAEMON}::test_one_pass_and_one_decision_from_the_command_line",
    "autoscaler run": f"{DAEMON}::test_it_scales_up_and_down_with_the_sessions",
    "bokeh-exporter launch": LAUNCHED,
    "bokeh-exporter launch --metrics-port": "tests/exporter/test_without_sidecar.py::test_",
    "bokeh-exporter sidecar": LAUNCHED,
    "panel serve": "tests/exporter/test_without_sidecar.py::test_",
    "pip install": OFFLINE,
    "pip wheel": OFFLINE,
    "pip download": OFFLINE,
    "docker build": IMAGES,
    "docker pull": "",
    "base=$(docker inspect": "",
    "kubectl": ON_THE_NODE,
    "helm": BY_HELM,
    "sudo mkdir -p /etc/nginx": NGINX,
    "sudo cp deploy/nginx": NGINX,
    "sudo rm -f /etc/nginx": NGINX,
    "sudo nginx": NGINX,
    "sudo mkdir -p /etc/haproxy": HAPROXY,
    "sudo cp deploy/haproxy": HAPROXY,
    "haproxy -c": HAPROXY,
    "echo 'CONFIG=": "",  # of the distribution's service, which no test starts
    "sudo systemctl": "",
    'echo "set server': "tests/proxies/programs.py::_say_as_told",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_something_runs_every_command_of_a_page(page: Path) -> None:
    for command in commands(page):
        fitting = [beginning for beginning in RUN_BY if command.startswith(beginning)]

        assert fitting, f"{page}: nothing runs `{command}`"


def test_what_runs_them_is_there() -> None:
    for place in filter(None, RUN_BY.values()):
        file, _, name = place.partition("::")
        text = (ROOT / file).read_text()
        assert re.search(rf"def {name}", text) or file == SUITE, place


def test_no_beginning_is_left_over() -> None:
    printed = [command for page in PAGES for command in commands(page)]

    for beginning in RUN_BY:
        assert any(command.startswith(beginning) for command in printed), beginning
