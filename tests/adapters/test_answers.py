"""Whatever a server sends, it is a whole answer within its bounds or it is none; nothing raises."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.http.answers import (
    CHUNK,
    LARGEST_HEAD,
    HttpExchange,
    NoReply,
    Reply,
    json_of,
)
from tests.adapters.hostile import FINE

INCOMPLETE = "did not give a complete HTTP response"
LARGEST = 1 << 20
MEBIBYTE = 1 << 20


def answer(content: bytes, *, packed: bool = False, size: int = CHUNK) -> Reply | NoReply | None:
    """What becomes of these bytes, received in pieces of a size, and then the end."""
    reader = HttpExchange(LARGEST, packed=packed)
    reader.request("/", "host", {})
    for begin in range(0, len(content), size):
        result = reader.feed(content[begin : begin + size])
        if result is not None:
            return result
    return reader.feed(b"")


def http(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def chunked(*parts: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces


PACKED = b"Content-Encoding: gzip"
bodies = st.binary(max_size=300)
large = st.sampled_from([bytes(100_000), bytes(range(256)) * 300])
wholes = st.one_of(
    bodies.map(http).map(lambda content: (content, False)),
    st.lists(bodies.filter(len), max_size=4).map(lambda parts: (chunked(*parts), False)),
    bodies.map(lambda body: (b"HTTP/1.0 200 OK\r\n\r\n" + body, False)),
    (bodies | large).map(lambda body: (http(gzip.compress(body), PACKED), True)),
)


@given(wholes, st.integers(1, 50))
def test_a_whole_answer_is_the_same_however_it_is_cut_up(
    whole: tuple[bytes, bool], size: int
) -> None:
    content, packed = whole
    at_once = answer(content, packed=packed)

    assert isinstance(at_once, Reply)
    assert answer(content, packed=packed, size=size) == at_once


@given(wholes, st.data())
def test_what_is_cut_short_or_spoiled_is_an_answer_or_none_and_never_raises(
    whole: tuple[bytes, bool], data: st.DataObject
) -> None:
    content, packed = whole
    at = data.draw(st.integers(0, len(content)))
    spoiled = content[:at] + data.draw(st.binary(max_size=5)) + content[at + 1 :]

    assert isinstance(answer(spoiled, packed=packed), Reply | NoReply)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_at_all_are_an_answer_or_none(content: bytes, size: int) -> None:
    assert isinstance(answer(content, size=size), Reply | NoReply)


BOMB = gzip.compress(bytes(100 * MEBIBYTE), 9)


@pytest.mark.parametrize(
    ("content", "packed", "why"),
    [
        pytest.param(http(bytes(LARGEST + 1)), False, "more than 1 MiB", id="a byte too many"),
        pytest.param(http(BOMB, PACKED), True, "more than 1 MiB", id="a gzip bomb"),
        pytest.param(
            http(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip"),
            True,
            "the encoding 'gzip, gzip', which was not requested",
            id="a bomb in a bomb",
        ),
        pytest.param(
            http(gzip.compress(b"{}"), PACKED), False, "was not requested", id="packed unasked"
        ),
        pytest.param(
            http(zlib.compress(b"{}"), b"Content-Encoding: deflate"),
            True,
            "the encoding 'deflate'",
            id="packed otherwise",
        ),
        pytest.param(http(b"no gzip", PACKED), True, INCOMPLETE, id="no gzip"),
        pytest.param(
            http(gzip.compress(bytes(99))[:-4], PACKED),
            True,
            INCOMPLETE,
            id="its end",
        ),
        pytest.param(
            http(b"", b"X: " + b"x" * 3 * LARGEST_HEAD),
            False,
            INCOMPLETE,
            id="a head",
        ),
        pytest.param(http(b"", *[b"X: y"] * 20_000), False, INCOMPLETE, id="many headers"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000, False, "too many headers", id="never begins"
        ),
        pytest.param(chunked(*[b"x"] * 300_000), False, "too many headers", id="tiny chunks"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5_000),
            False,
            INCOMPLETE,
            id="a length of five thousand digits",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            False,
            INCOMPLETE,
            id="two lengths",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            False,
            INCOMPLETE,
            id="another protocol",
        ),
    ],
)
def test_what_is_too_large_or_odd_is_none_and_takes_no_memory(
    content: bytes, packed: bool, why: str
) -> None:
    tracemalloc.start()
    try:
        said = answer(content, packed=packed)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(said, NoReply)
    assert why in said.reason
    assert most < 8 * MEBIBYTE


def test_a_connection_is_kept_only_after_a_whole_answer_with_nothing_behind_it() -> None:
    def is_kept(content: bytes) -> bool:
        said = answer(content)
        assert isinstance(said, Reply)
        return said.kept

    assert is_kept(FINE)
    assert not is_kept(FINE + FINE), "the next answer would be one to nothing"
    assert not is_kept(http(b"{}", b"Connection: close"))
    assert not is_kept(b"HTTP/1.0 200 OK\r\n\r\n{}")


@pytest.mark.parametrize("target", ["/a b", "/\n", "/é"])
def test_what_would_be_no_request_is_not_written(target: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        HttpExchange(LARGEST).request(target, "host", {})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b"[" * 300 + b"]" * 300, id="deeper than anything we ask for"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[Infinity]", id="Infinity"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"9" * 10_000, id="a number of ten thousand digits"),
        pytest.param(b"[" + b"[]," * 5 * MEBIBYTE + b"1]", id="a gigabyte of empty lists"),
        pytest.param(b"[" + b"{}," * 5 * MEBIBYTE + b"1]", id="a gigabyte of empty objects"),
        pytest.param(b"[" + b"1.5," * 4 * MEBIBYTE + b"1]", id="numbers"),
    ],
)
def test_what_is_no_plain_json_is_refused_before_it_fills_the_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\w"):
            json_of(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < MEBIBYTE


def test_twenty_thousand_series_are_read() -> None:
    labels = {"namespace": "bokeh", "pod": "bokeh-app-7d9f8b6c5d-00000", "app": "/", "job": "a"}
    row = {"metric": labels, "values": [[1_800_000_000.5 + 15 * n, str(n)] for n in range(4)]}
    rows = ",".join([json.dumps(row, separators=(",", ":"))] * 20_000)

    assert len(json_of(f"[{rows}]".encode())) == 20_000
