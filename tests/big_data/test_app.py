"""The real app under our launcher: it draws for its users, counts them, survives bad input."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.big_data.conftest import POINTS, Stars
from tests.big_data.sight import PATIENCE, Sight, sight
from tests.big_data.visitor import visit
from tests.lab import big_data_servers as servers
from tests.lab import browser
from tests.lab.bokeh_servers import Served, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def service_port() -> int:
    """Where the app looks for the service."""
    return free_port()


@pytest.fixture(scope="module")
def app(python: str, points: Path, service_port: int) -> Iterator[Served]:
    address = f"http://127.0.0.1:{service_port}"
    with servers.app(python, points, BIG_DATA_SERVICE=address) as started:
        yield started


@pytest.fixture
def page(app: Served) -> Iterator[Sight]:
    if browser.driver() is None:
        pytest.skip(f"NO BROWSER: {browser.HOW}")
    with sight() as seen:
        seen.open(app.url)
        yield seen


def lit(pixels: np.ndarray) -> float:
    """The share of pixels that are not black."""
    return float((pixels.max(axis=2) > 10).mean())


def roughness(pixels: np.ndarray) -> float:
    """The share of lit pixels that differ from the next one to the right."""
    differs = np.any(np.diff(pixels.astype(int), axis=1) != 0, axis=2)
    return float(differs[pixels[:, :-1].max(axis=2) > 10].mean())


def test_a_user_sees_where_the_points_are_and_is_counted(app: Served, stars: Stars) -> None:
    with visit(app.url) as user:
        levels = user.await_picture()

        assert (levels.dtype, levels.shape) == (np.uint8, (600, 900))
        assert stars.are_in(levels)
        assert not stars.only("K").are_in(levels)
        # Shades by number: the bulge is denser than the rim.
        assert levels[250:350, 400:500].mean() > 5 * levels[:60, :].mean()
        assert user.await_text(f"{POINTS:,} stars")
        assert app.connected() == 1
    wait_until(lambda: app.connected() == 0, "the user to be gone")


def test_a_filter_takes_points_out_of_the_picture_and_back(app: Served, stars: Stars) -> None:
    with visit(app.url) as user:
        everything = user.await_picture()
        user.type("kind=K,M")
        some = user.await_picture(other_than=everything)
        assert stars.only("K", "M").are_in(some)

        user.type("")

        assert np.array_equal(user.await_picture(other_than=some), everything)


def test_colours_show_a_mean_too(app: Served) -> None:
    with visit(app.url) as user:
        number = user.await_picture()
        user.choose("brightness")

        brightness = user.await_picture(other_than=number)

        assert np.array_equal(brightness > 0, number > 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mass=1..2", "there is no column 'mass': there are x, y, brightness, kind"),
        ("x=5..1", "x=5..1 is reversed: the lower bound comes first"),
        ("x=1e999..", "the bound '1e999' of x is beyond 3.4e+38: leave it out"),
        ("bright stars", "'bright stars' is no filter"),
    ],
)
def test_a_filter_that_means_nothing_is_said_and_the_next_one_works(
    app: Served, text: str, sentence: str
) -> None:
    with visit(app.url) as user:
        before = user.await_picture()
        user.type(text)

        user.await_text(sentence)

        user.type("kind=M")
        user.await_picture(other_than=before)
        assert not any("column" in shown or "bound" in shown for shown in user.texts())


def test_single_stars_come_from_the_service_and_its_absence_is_said(
    python: str, points: Path, app: Served, service_port: int
) -> None:
    with visit(app.url) as user:
        everything = user.await_picture()
        user.type("kind=O&brightness=11..&x=0..")  # x besides what is in view
        with servers.service(python, points, service_port):
            user.press()
            table = user.await_text("brightness")
            assert re.search(r"\bO\b", table)
            assert not re.search(r"\b[BAFGKM]\b", table)
            assert all(float(row) > 0 for row in re.findall(r"(-?[\d.]+) -?[\d.]+ [\d.]+ O", table))

        user.press()

        user.await_text(f"the service http://127.0.0.1:{service_port} does not answer")
        user.type("kind=K")
        user.await_picture(other_than=everything)


def test_a_shard_that_is_cut_short_is_said_until_it_is_whole_again(
    python: str, points: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(points, tmp_path / "data")
    cut = folder / "points-00002.parquet"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with servers.app(python, folder) as app, visit(app.url) as user:
        user.await_text("points-00002.parquet is cut short or no Parquet file")

        cut.write_bytes(whole)

        user.await_picture()
        assert not any("cut short" in text for text in user.texts())


def test_a_galaxy_is_seen_and_a_turn_of_the_wheel_draws_it_larger_and_as_sharp(
    page: Sight,
) -> None:
    whole = page.pixels()
    assert 0.1 < lit(whole) < 0.9
    assert lit(whole[250:265, 485:500]) > 0.99  # the bulge
    assert lit(whole[10:40, 10:40]) == 0  # far from everything
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) > 15  # shades, not a silhouette

    page.zoom(0.5, 0.5, turns=8)

    closer = page.pixels()
    assert lit(closer) < 0.9 * lit(whole)  # as many points as before lie farther apart
    # Single pixels still differ from their neighbours: it was drawn anew, not enlarged.
    assert roughness(closer) > 0.9 * roughness(whole)


def test_a_wrong_filter_is_said_above_the_picture_and_a_right_one_takes_it_away(
    page: Sight,
) -> None:
    everything = page.pixels()
    page.type("mass=1..2")

    said = wait_until(page.alerts, "what is wrong", PATIENCE)

    assert said == ["there is no column 'mass': there are x, y, brightness, kind"]
    page.type("kind=O")
    wait_until(lambda: not page.alerts(), "that nothing is wrong", PATIENCE)
    wait_until(
        lambda: 0 < lit(page.pixels()) < 0.5 * lit(everything), "a picture of some", PATIENCE
    )
