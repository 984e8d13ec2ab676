"""The real service answers with rows, page by page, or with one sentence that says why not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.big_data.conftest import POINTS, SHARD_ROWS
from tests.deploy.pages import BIG_DATA_PAGE, commands, run_shell
from tests.lab import big_data_servers as servers
from tests.lab.big_data_servers import Service

pytestmark = pytest.mark.slow

ARROW = "application/vnd.apache.arrow.stream"


def pages(service: Service, **query: str) -> Iterator[dict[str, Any]]:
    """Every page, by the links that the pages give."""
    following: str | None = service.url  # not empty
    while following:
        page = service.get("/points", **query)
        assert page.status == 200, page.body
        yield page.json()
        following = page.json()["next"]
        query["cursor"] = following.rpartition("cursor=")[2] if following else ""


def column(service: Service, name: str, **query: str) -> list[Any]:
    read = [page["columns"][name] for page in pages(service, **query)]
    return [value for part in read for value in part]


def value(service: Service, series: str) -> float:
    text = service.get("/metrics").body.decode()
    line = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert line, text
    return float(line[1])


def test_pages_together_are_all_rows_once(service: Service) -> None:
    sizes = [page["rows"] for page in pages(service, limit="90000", columns="x")]

    assert sum(sizes) == POINTS
    assert sizes == [90_000, 90_000, 70_000]


def test_pages_of_filtered_rows_are_the_same_rows_as_one_page(service: Service) -> None:
    wanted = {"x": "-2000..2000", "kind": "O,B", "columns": "x,y,kind"}

    in_one = column(service, "x", **wanted, limit="100000")
    in_pages = column(service, "x", **wanted, limit="99")

    assert in_pages == in_one
    assert len(in_one) > 300


@pytest.mark.parametrize(
    ("column_name", "text", "holds"),
    [
        ("x", "-500..500", lambda value: -500 <= value <= 500),
        ("x", "1000..", lambda value: value >= 1000),
        ("brightness", "..4.5", lambda value: value <= 4.5),
        ("kind", "G", lambda value: value == "G"),
        ("kind", "O, B", lambda value: value in ("O", "B")),
    ],
)
def test_a_filter_lets_through_what_it_says_and_all_of_it(
    service: Service, column_name: str, text: str, holds: Any
) -> None:
    everything = column(service, column_name, columns=column_name, limit="100000")

    found = column(service, column_name, columns=column_name, limit="100000", **{column_name: text})

    assert found == [value for value in everything if holds(value)]
    assert 0 < len(found) < POINTS


def test_columns_come_in_the_order_asked_for(service: Service) -> None:
    page = service.get("/points", columns="kind,x", limit="2").json()

    assert list(page["columns"]) == ["kind", "x"]


def test_shards_can_be_read_apart(service: Service) -> None:
    shards = service.get("/shards").json()

    assert [shard["rows"] for shard in shards] == [SHARD_ROWS, SHARD_ROWS, POINTS % SHARD_ROWS]
    last = column(service, "x", shard=shards[-1]["name"], columns="x", limit="50000")
    assert last == column(service, "x", columns="x", limit="100000")[-len(last) :]


def test_arrow_is_the_same_rows_as_json(service: Service, python: str, tmp_path: Path) -> None:
    answer = service.get("/points", {"Accept": ARROW}, limit="1000", kind="M", columns="x")
    read = (
        "import sys, pyarrow as pa; "
        "print(pa.ipc.open_stream(sys.stdin.buffer).read_all()['x'].to_pylist())"
    )
    rows = subprocess.run([python, "-c", read], input=answer.body, capture_output=True, check=True)

    assert answer.headers["content-type"] == ARROW
    assert re.fullmatch(r'</points\?.*cursor=0-1000>; rel="next"', answer.headers["link"])
    json_page = service.get("/points", limit="1000", kind="M", columns="x").json()
    assert rows.stdout.decode().strip() == str(json_page["columns"]["x"])


def test_a_client_that_has_the_page_is_told_so_instead_of_sent_it(service: Service) -> None:
    first = service.get("/points", limit="5")
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}

    again = service.get("/points", known, limit="5")

    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert service.get("/points", known, limit="6").status == 200
    assert service.get("/points", {**known, "Accept": ARROW}, limit="5").status == 200


def test_another_machine_with_the_same_points_gives_the_same_tag(
    service: Service, python: str, points: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(points, tmp_path / "data")
    with servers.service(python, copy) as other:
        tag = other.get("/points", limit="5").headers["etag"]
        assert tag == service.get("/points", limit="5").headers["etag"]

        servers.make(python, copy, "--points", "1000", "--seed", "8")

        assert other.get("/points", limit="5").headers["etag"] != tag


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ({"mass": "1..2"}, 400, "there is no column 'mass': there are x, y, brightness, kind"),
        ({"columns": "x,z"}, 400, "there is no column 'z': there are x, y, brightness, kind"),
        ({"x": "5..1"}, 400, "x=5..1 is reversed: the lower bound comes first"),
        ({"x": "1e999.."}, 400, "the bound '1e999' of x is beyond 3.4e+38: leave it out"),
        ({"x": "nan.."}, 400, "the bound 'nan' of x is beyond 3.4e+38: leave it out"),
        ({"x": "a..b"}, 400, "the bound 'a' of x is no number"),
        ({"x": "7"}, 400, "x=7 is no range: write x=0..10, x=0.. or x=..10"),
        ({"x": ".."}, 400, "x=.. is no range: write x=0..10, x=0.. or x=..10"),
        ({"kind": ","}, 400, "kind has no values: write them with commas, such as kind=A,B"),
        ({"limit": "0"}, 400, "limit=0 is no number of rows from 1 to 100,000"),
        ({"limit": "100001"}, 400, "limit=100001 is no number of rows from 1 to 100,000"),
        ({"limit": "ten"}, 400, "limit=ten is no number of rows from 1 to 100,000"),
        ({"cursor": "3-0"}, 400, "cursor=3-0 is none of ours: take it from `next` of a page"),
        ({"cursor": "x"}, 400, "cursor=x is none of ours: take it from `next` of a page"),
        ({"shard": "nope"}, 404, "there is no shard 'nope': /shards lists them"),
    ],
    ids=lambda value: "&".join(f"{k}={v}" for k, v in value.items()) if type(value) is dict else "",
)
def test_what_cannot_be_answered_is_one_sentence(
    service: Service, query: dict[str, str], status: int, sentence: str
) -> None:
    answer = service.get("/points", **query)

    assert (answer.status, answer.problem()) == (status, sentence)


def test_a_filter_given_twice_is_one_sentence(service: Service) -> None:
    answer = service.request("GET", "/points?x=0..1&x=2..3")

    assert answer.problem() == "x is given twice: one range or one list of values is enough"


def test_a_range_over_everything_is_still_one_page(service: Service) -> None:
    page = service.get("/points", x="-3e38..3e38").json()

    assert page["rows"] == 1_000
    assert page["next"]


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/point", {}, 404),
        ("GET", "/points", {"Accept": "text/html"}, 406),
        ("POST", "/points", {}, 405),
    ],
)
def test_other_pages_formats_and_methods_are_problems_too(
    service: Service, method: str, target: str, headers: dict[str, str], status: int
) -> None:
    answer = service.request(method, target, headers)

    assert answer.status == status
    assert answer.problem()


def test_a_shard_that_is_cut_short_spoils_only_what_needs_it(
    python: str, points: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(points, tmp_path / "data")
    cut = folder / "points-00001.parquet"
    whole = cut.read_bytes()
    with servers.service(python, folder) as service:
        cut.write_bytes(whole[: len(whole) // 2])
        sentence = "points-00001.parquet is cut short or no Parquet file: make or copy it again"

        spoilt = service.get("/points", cursor="1-0")

        assert (spoilt.status, spoilt.problem()) == (500, sentence)
        assert service.get("/shards").problem() == sentence
        assert service.get("/points", cursor="2-0").status == 200
        cut.write_bytes(whole)
        assert service.get("/points", cursor="1-0").status == 200


def test_a_folder_without_points_is_not_ready_but_alive(python: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with servers.service(python, folder) as service:
        for page in ("/points", "/readyz", "/columns"):
            answer = service.get(page)
            assert answer.status == 503
            assert answer.problem().startswith(f"there are no points in {folder}: ")
        assert service.get("/healthz").status == 200


def test_requests_and_rows_are_counted(service: Service) -> None:
    before = value(service, "big_data_rows_served_total")
    good = value(service, 'big_data_requests_total{code="200",page="/points"}')

    service.get("/points", limit="17")
    service.get("/points", limit="0")
    service.get("/made-up")

    assert value(service, "big_data_rows_served_total") == before + 17
    assert value(service, 'big_data_requests_total{code="200",page="/points"}') == good + 1
    assert value(service, 'big_data_requests_total{code="400",page="/points"}') >= 1
    assert value(service, 'big_data_requests_total{code="404",page="other"}') >= 1
    assert value(service, "process_cpu_seconds_total") > 0


def test_the_questions_of_the_readme_have_answers(service: Service) -> None:
    page = (servers.EXAMPLE / "README.md").read_text()
    asked = re.findall(
        r"^curl (?:-H 'Accept: (\S+)' )?'http://localhost:8000(\S+)'", page, re.MULTILINE
    )

    assert len(asked) == 5
    for accept, target in asked:
        answer = service.request("GET", target, {"Accept": accept or "*/*"})
        assert answer.status == 200, (target, answer.body)


def test_the_answers_of_the_readme_are_those_of_the_service(service: Service) -> None:
    page = (servers.EXAMPLE / "README.md").read_text()
    said = re.findall(r"^\| `(\w+=\S+)` \| (\d+): (.*) \|$", page, re.MULTILINE)

    assert len(said) == 4
    for asked, status, sentence in said:
        answer = service.request("GET", f"/points?{asked}")
        assert (str(answer.status), answer.problem()) == (status, sentence)


@pytest.mark.parametrize(
    "command", [line for line in commands(BIG_DATA_PAGE) if line.startswith("curl")]
)
def test_a_question_of_the_page_is_answered(service: Service, tmp_path: Path, command: str) -> None:
    asked = command.replace("http://localhost:8000", service.url)

    answer = run_shell(f"{asked} --silent --show-error --fail-with-body", tmp_path)

    arrow = tmp_path / "stars.arrow"
    assert arrow.stat().st_size > 1000 if arrow.exists() else json.loads(answer)
