"""Users who come at once are spread over HAProxy's servers (docs/decisions/0008)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.haproxy_balance import RULES, SEATS, SERVERS, START, Site, at_once
from tests.lab.websocket_user import Users
from tests.proxies.fleet import Fleet

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, users: Users) -> Iterator[Site]:
    """HAProxy with the shipped files, before four servers without users."""
    if shutil.which("haproxy") is None:
        pytest.skip("NO HAPROXY: `apt-get install haproxy` or `make parts` gets it")
    folder = tmp_path / "haproxy"
    folder.mkdir()
    with Fleet(tmp_path, count=SERVERS) as fleet:
        site = Site(RULES["as shipped"], fleet, users, folder)
        yield site
        site.close()


@pytest.mark.timeout(180)
def test_users_who_come_at_once_do_not_all_come_to_the_fullest_server(site: Site) -> None:
    site.fill(START)

    assert at_once([site.come] * 8) == 0

    assert sum(site.fleet.connected()) == 16
    assert max(site.fleet.connected()) <= SEATS


@pytest.mark.timeout(180)
def test_nobody_is_refused_while_all_servers_are_full(site: Site) -> None:
    site.fill([SEATS] * SERVERS)

    assert at_once([site.come] * 4) == 0

    assert sum(site.fleet.connected()) == (SEATS + 1) * SERVERS
