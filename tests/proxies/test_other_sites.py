"""A page of another site, open in the browser of one of our users, cannot drive the app."""

from __future__ import annotations

import pytest
from tornado.httpclient import HTTPClientError

from tests.lab.websocket_user import Users, token_in
from tests.proxies.browser import Browser
from tests.proxies.fleet import Fleet
from tests.proxies.programs import Proxy

pytestmark = pytest.mark.slow

ELSEWHERE = "http://evil.example"


def test_only_the_page_that_the_proxy_serves_opens_its_websocket(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    """Bokeh compares the Origin with the Host, which the proxy passes as the browser sent it."""
    proxy.start(fleet.addresses)
    browser = Browser(users, proxy.url)
    browser.load()

    with pytest.raises(HTTPClientError, match="403"):
        users.connect(proxy.url, browser.token, ELSEWHERE, jar=browser.jar)

    assert sum(fleet.connected()) == 0
    browser.connect()
    assert sum(fleet.connected()) == 1


def test_a_script_that_another_site_may_read_opens_no_websocket_there(
    proxy: Proxy, fleet: Fleet, users: Users
) -> None:
    """Bokeh gives autoload.js, with a token in it, to every site: it is made for embedding."""
    proxy.start(fleet.addresses)
    script = f"{proxy.url}/autoload.js"
    words = {"bokeh-autoload-element": "x", "bokeh-app-path": "/app"}
    token = token_in(users.get(script, **words))

    with pytest.raises(HTTPClientError, match="403"):
        users.connect(proxy.url, token, ELSEWHERE)
