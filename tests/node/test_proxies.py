"""The shipped proxies as pods before the app: they follow its Services, and go unnoticed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.deploy.manifests import STICKY, pinned
from tests.lab.debian import newer_programs
from tests.lab.go import BuildError
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User
from tests.node.apps import component
from tests.node.clicks import AFTERWARDS, clicking, lost
from tests.node.shipped import (
    APP,
    KUBELET_SYNC,
    SOON,
    Shipped,
    policy,
)
from tests.proxies.browser import Browser

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(600)]

USERS = 40
FOLLOWED_AFTER = 5.0  # seconds; the proxies ask the name server every second, which is told at once


@pytest.fixture(scope="module", params=STICKY)
def proxy(shipped: Shipped, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of one that runs before the app."""
    name = str(request.param)
    objects = component(name)
    shipped.apply(objects)
    shipped.rolled_out(name)
    yield name
    shipped.remove(objects)


@pytest.fixture
def browsers(shipped: Shipped, proxy: str) -> Iterator[Visitors]:
    shipped.write_policy(APP, policy())
    with ExitStack() as stack:
        visitors = Visitors(shipped, shipped.url(proxy))
        stack.callback(visitors.leave)
        yield visitors


class Visitors:
    """Browsers before a proxy, each with its page open or between two connections."""

    def __init__(self, shipped: Shipped, url: str) -> None:
        self._shipped, self._url = shipped, url
        self._browsers: list[Browser] = []
        self.users: list[User] = []

    def come(self, number: int) -> list[User]:
        came = [Browser(self._shipped.users, self._url) for _ in range(number)]
        self._browsers += came
        self.users += [each.open() for each in came]
        return self.users[-number:]

    def reconnect(self) -> None:
        """All connections end and come back, as after a loss of the network."""
        self.leave()
        self.users = [each.connect() for each in self._browsers]

    def leave(self) -> None:
        for user in self.users:
            self._shipped.users.leave(user)
        self.users = []


def connected(shipped: Shipped) -> dict[str, int]:
    """Users of each pod of the app."""
    states = {pod.metadata.name: shipped.state(pod) for pod in shipped.pods()}
    return {name: state["sessions"]["connected"] for name, state in states.items() if state}


def cordoned(shipped: Shipped) -> list[str]:
    return [pod.metadata.name for pod in shipped.pods() if pod.metadata.labels[ROUTABLE] != "true"]


def version(text: str) -> tuple[int, ...]:
    """(1, 30) of whatever names 1.30.6."""
    found = re.search(r"(\d+)\.(\d+)", text)
    assert found is not None, text
    return tuple(map(int, found.groups()))


def test_it_is_no_older_than_the_one_that_the_manifest_names(shipped: Shipped, proxy: str) -> None:
    program = proxy.removeprefix("sticky-")
    try:
        newer_programs()
    except BuildError as error:
        pytest.skip(f"NO NEWER {program.upper()}: {error}")

    told = shipped.kubectl("exec", f"deployment/{proxy}", "--", "sh", "-c", f"{program} -v 2>&1")

    assert version(told) >= version(pinned(proxy)[0])


def test_a_cordoned_pod_gets_no_new_users_and_those_who_reconnect_come_back_to_it(
    shipped: Shipped, browsers: Visitors
) -> None:
    shipped.write_policy(APP, policy(replicas={"min": 3, "max": 10}))
    shipped.await_replicas(3, within=KUBELET_SYNC)
    shipped.await_ready(3)
    wait_until(shipped.all_open, SOON, "nobody to be there, and every pod to be open")
    time.sleep(FOLLOWED_AFTER)
    before = shipped.created()

    while min(connected(shipped).values()) == 0:
        browsers.come(6)
    assert shipped.created() == before + len(browsers.users), "each user costs one session"
    shipped.write_policy(APP, policy(drain={"settle": "10s", "reconnect": "60s"}))
    (going,) = shipped.await_daemon(lambda: cordoned(shipped), KUBELET_SYNC, "a pod to be cordoned")
    time.sleep(FOLLOWED_AFTER)

    there = connected(shipped)
    browsers.reconnect()
    assert connected(shipped) == there, "everybody is on the own pod"
    browsers.come(4)
    assert connected(shipped)[going] == there[going]
    assert shipped.created() == before + len(browsers.users)

    shipped.write_policy(APP, policy())
    browsers.leave()
    shipped.await_daemon(
        lambda: len(shipped.pods()) == 2, KUBELET_SYNC + SOON, "the empty pod to go"
    )
    assert going not in connected(shipped)


def test_an_upgrade_of_the_proxy_and_of_the_app_loses_no_session_and_no_click(
    shipped: Shipped, proxy: str, browsers: Visitors
) -> None:
    shipped.await_ready(shipped.replicas())
    program = proxy.removeprefix("sticky-")
    guests = browsers.come(USERS)

    with clicking(shipped, guests) as clickers:
        shipped.upgrade(proxy, program, program)
        shipped.restart(APP)
        shipped.rolled_out(proxy)
        shipped.rolled_out(APP)
        newcomers = browsers.come(4)
        time.sleep(AFTERWARDS)

    assert min(each.clicks for each in clickers) > 0
    assert shipped.all_connected([*guests, *newcomers])
    assert lost(shipped, clickers) == []
    assert len(shipped.all_pods(proxy)) > 2, "the old proxies stay for their users"
    browsers.leave()
    wait_until(lambda: len(shipped.all_pods(proxy)) == 2, SOON, "the old proxies to end")
