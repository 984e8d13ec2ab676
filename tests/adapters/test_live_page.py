"""The page of `simulate --watch`: each version tells a browser whether it is the newest."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from autoscaler.adapters.live_page import LivePage


@pytest.fixture
def page() -> Iterator[LivePage]:
    with closing(LivePage()) as live:
        yield live


def get(page: LivePage, path: str = "") -> str:
    with urllib.request.urlopen(page.url + path, timeout=10) as answer:
        return answer.read().decode()


def test_a_newer_version_is_shown_and_counted(page: LivePage) -> None:
    page.show("<body>one</body>")
    page.show("<body>two</body>")

    assert get(page).startswith("<body>two<script>")
    assert get(page, "version") == "2"


def test_a_page_asks_whether_it_is_the_newest(page: LivePage) -> None:
    page.show("<body>one</body>")

    assert '!== "1"' in get(page)


def test_only_this_machine_can_open_it(page: LivePage) -> None:
    assert page.url.startswith("http://127.0.0.1:")


def test_another_path_is_not_there(page: LivePage) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(page, "etc")
