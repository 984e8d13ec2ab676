"""Either proxy before real servers, of which one gets SIGTERM as a Terminating pod does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.exporter import agent_socket
from tests.lab.bokeh_servers import wait_until
from tests.lab.websocket_user import Users
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy
from tests.proxies.test_draining import Guest, guest_of

pytestmark = pytest.mark.slow
GOING = 0
# On a busy machine, a user who leaves may come back later than within a second.
BACK_SOON = ("--reconnect", "5s")


@pytest.fixture(scope="module")
def shared_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Not the servers of other files: theirs do not end."""
    with Fleet(tmp_path_factory.mktemp("fleet"), count=2, options=BACK_SOON) as fleet:
        yield fleet


@pytest.fixture
def fleet(shared_two: Fleet) -> Iterator[Fleet]:
    """Two servers without users, of which the one that is to end is new."""
    shared_two.start_stopped()
    shared_two.await_connected([0, 0])
    yield shared_two
    shared_two.stop(GOING)


@pytest.fixture
def guest(proxy: Proxy, fleet: Fleet, users: Users) -> Guest:
    """A user of the server that has got SIGTERM since, and waits for this user."""
    proxy.start(fleet.addresses)
    guest = guest_of(GOING, proxy, fleet, users)
    terminate(fleet)
    return guest


def terminate(fleet: Fleet) -> None:
    """SIGTERM to one server; returns when its worker has been told, milliseconds later."""
    server = fleet.servers[GOING]
    server.terminate()
    wait_until(lambda: agent_socket.report(server)["draining"], "a worker that drains")


def test_new_users_get_a_page_of_another_server_at_once(
    proxy: Proxy, fleet: Fleet, users: Users, guest: Guest
) -> None:
    built = fleet.created()
    for _ in range(8):  # each raises at any answer but 200
        Browser(users, proxy.url).open()
    assert fleet.created() == [built[GOING], built[1] + 8]
    users.ask(guest[1])


def test_a_session_goes_on_its_user_comes_back_and_the_server_ends_when_it_has_left(
    proxy: Proxy, fleet: Fleet, users: Users, guest: Guest
) -> None:
    browser, user = guest
    root = users.document(user)["roots"][0]["id"]
    users.change(user, root, "text", "two hours of work")
    users.leave(user)
    again = browser.connect()
    assert users.document(again)["roots"][0]["attributes"]["text"] == "two hours of work"
    assert fleet.servers[GOING].launcher.poll() is None
    users.leave(again)
    assert fleet.servers[GOING].exit_code() == 0
    Browser(users, proxy.url).open()


def test_a_page_that_is_loaded_again_moves_its_cookie_to_another_server(
    fleet: Fleet, users: Users, guest: Guest
) -> None:
    browser, user = guest
    built = fleet.created()
    was = browser.jar["sticky_pod"].value
    users.leave(user)
    moved = browser.open()  # by the cookie this page would come from the server that goes
    assert browser.jar["sticky_pod"].value.partition("|")[0] != was.partition("|")[0]
    browser.load()
    assert fleet.created() == [built[GOING], built[1] + 2]
    users.ask(moved)
    assert fleet.connected()[1] >= 1


def test_kept_alive_connections_to_the_server_make_no_new_sessions(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    proxy.start(fleet.addresses)
    guest = guest_of(GOING, proxy, fleet, users)
    for _ in range(6):  # so the proxy holds idle connections to both
        Browser(users, proxy.url).load()
    built = fleet.created()
    terminate(fleet)
    for _ in range(8):
        Browser(users, proxy.url).load()
    assert fleet.created() == [built[GOING], built[1] + 8]
    users.ask(guest[1])
