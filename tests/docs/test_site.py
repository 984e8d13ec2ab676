"""The site of the pages: complete, whole without a network, and readable on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.deploy.pages import WITH_LINKS, blocks
from tests.docs.site import ROOT, build
from tests.lab import browser
from tests.lab.docs_environment import ENVIRONMENT
from tests.lab.processes import wait_until

CONTENTS = (ROOT / "docs" / "index.md", ROOT / "docs" / "decisions" / "README.md")
# Attributes by which a browser fetches something without being asked to.
FETCHED = {"src", "srcset", "data", "poster"}
WITHIN = 20


@dataclass
class Page(HTMLParser):
    """What a page of HTML refers to, and the anchors that it has."""

    links: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name in FETCHED or (tag == "link" and name == "href"):
                self.fetched.add(value or "")
            elif name == "href":
                self.links.add(value or "")


@cache
def page_of(file: Path) -> Page:
    page = Page()
    page.feed(file.read_text())
    return page


def is_elsewhere(address: str) -> bool:
    return bool(re.match(r"(https?:)?//", address))


def dead_links(folder: Path) -> Iterator[str]:
    """Each link within a site that leads to no file or to no anchor."""
    for file in sorted(folder.rglob("*.html")):
        page = page_of(file)
        for link in sorted(page.links | page.fetched):
            address = urlsplit(link)
            if address.scheme or is_elsewhere(link):
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            anchor = unquote(address.fragment)
            if not target.is_file() or (anchor and anchor not in page_of(target).anchors):
                yield f"{file.relative_to(folder)}: {link}"


def fetched_from_elsewhere(folder: Path) -> Iterator[str]:
    """Each script, style, font or image of a site that another host would have to send."""
    for file in sorted(folder.rglob("*.html")):
        for address in sorted(filter(is_elsewhere, page_of(file).fetched)):
            yield f"{file.relative_to(folder)}: {address}"
    for file in sorted(folder.rglob("*.css")):
        imported = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", file.read_text())
        for address in filter(is_elsewhere, imported):
            yield f"{file.relative_to(folder)}: {address}"


def listed() -> set[Path]:
    """The pages in the contents of the site."""
    found = set()
    for page in CONTENTS:
        for line in "\n".join(blocks(page, r"\{toctree\}")).splitlines():
            entry = re.sub(r".*<(.*)>", r"\1", line.strip())
            if entry and not entry.startswith(":"):
                found |= {each.resolve() for each in page.parent.glob(f"{entry}.md")}
    return found


def test_each_page_is_in_the_contents() -> None:
    missing = [str(page.relative_to(ROOT)) for page in set(WITH_LINKS) - listed() - {CONTENTS[0]}]

    assert not missing, (
        f"{', '.join(sorted(missing))}: add a line to one of the toctrees in docs/index.md: "
        "Tutorial, How-to guides, Reference, Explanation or The project"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = ENVIRONMENT.python()
    if not python:
        pytest.skip(f"NO SITE: {ENVIRONMENT.how}")
    folder = tmp_path_factory.mktemp("site")
    assert not build(python, folder)
    return folder


@pytest.mark.slow
def test_the_site_has_every_page(site: Path) -> None:
    built = {file.relative_to(site).with_suffix("") for file in site.rglob("*.html")}

    assert {page.relative_to(ROOT).with_suffix("") for page in WITH_LINKS} <= built


@pytest.mark.slow
def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    assert len(page_of(site / "docs" / "index.html").links) > 40

    assert not list(dead_links(site))


@pytest.mark.slow
def test_no_other_host_is_needed(site: Path) -> None:
    assert page_of(site / "docs" / "index.html").fetched

    assert not list(fetched_from_elsewhere(site))


@pytest.mark.parametrize(
    ("html", "dead", "elsewhere"),
    [
        ('<p id="here"><a href="#here">', [], []),
        ('<a href="#gone">', ["#gone"], []),
        ('<a href="other.html#part">', [], []),
        ('<a href="other.html#gone">', ["other.html#gone"], []),
        ('<a href="gone.html">', ["gone.html"], []),
        ('<a href=".">', ["."], []),
        ('<img src="gone.png">', ["gone.png"], []),
        ('<a href="https://example.com/">', [], []),
        ('<script src="https://example.com/a.js">', [], ["https://example.com/a.js"]),
        ('<link rel="stylesheet" href="//example.com/a.css">', [], ["//example.com/a.css"]),
    ],
)
def test_what_is_missing_is_found(
    html: str, dead: list[str], elsewhere: list[str], tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "other.html").write_text('<h2 id="part">')

    assert list(dead_links(tmp_path)) == [f"page.html: {each}" for each in dead]
    assert list(fetched_from_elsewhere(tmp_path)) == [f"page.html: {each}" for each in elsewhere]


def test_a_font_of_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import 'https://example.com/a'; a {src: url(//b) url(c)}")

    assert list(fetched_from_elsewhere(tmp_path)) == ["a.css: https://example.com/a", "a.css: //b"]


@pytest.fixture(scope="module")
def reader() -> Iterator[Chrome]:
    if not browser.driver():
        pytest.skip(f"NO BROWSER: {browser.HOW}")
    with browser.browser() as started:
        yield started


@pytest.mark.slow
def test_the_search_works_without_a_server(site: Path, reader: Chrome) -> None:
    reader.get(f"{(site / 'search.html').as_uri()}?q=cordon")
    page = (By.CSS_SELECTOR, "#search-results a[href^='docs/concepts.html']")
    wait_until(lambda: reader.find_elements(*page), WITHIN, "a page that has the word")


@pytest.mark.slow
def test_no_page_scrolls_sideways_on_a_phone(site: Path, reader: Chrome) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    reader.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = []
    for file in sorted(site.rglob("*.html")):
        reader.get(file.as_uri())
        if reader.execute_script("return document.documentElement.scrollWidth") > 390:
            wide.append(str(file.relative_to(site)))

    assert not wide
