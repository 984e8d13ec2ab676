"""Which notices are taken, how often and from whom, and when silence is an answer."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.agent.notice import LASTS_SECONDS, Notice, parsed
from exporter.agent.question import Question
from exporter.agent.use import is_use
from exporter.doorkeeper import TokenGuard
from exporter.notice_desk import MOST
from exporter.observe import PodObserver
from exporter.sidecar import server
from exporter.tokens import TokenFile
from tests.builders import policy
from tests.lab.processes import free_ports

TEXT = {"id": "1", "text": "A new version comes", "seconds": 600}
WORKERS_0 = {"workers": 0, "took": 0, "sessions": 0}


def test_a_question_and_an_announcement_differ_in_their_button() -> None:
    assert parsed(TEXT) == Notice("1", "A new version comes", 600.0)
    assert parsed({**TEXT, "kind": "ask"}).button == "Stay"
    assert parsed({**TEXT, "kind": "ask", "button": "Bleiben"}).button == "Bleiben"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "a JSON object"),
        ({"id": "1", "seconds": 5}, "expected text"),
        ({**TEXT, "text": " "}, "not empty"),
        ({**TEXT, "text": "a" * 301}, "at most 300"),
        ({**TEXT, "text": "two\nlines"}, "on one line"),
        ({**TEXT, "text": "\u202eturned"}, "printable"),
        ({**TEXT, "text": "\u200d\u00a0"}, "printable"),
        ({**TEXT, "text": {"html": "<b>"}}, "expected text"),
        ({**TEXT, "button": "a" * 41}, "button of at most 40"),
        ({**TEXT, "seconds": -1}, "from 0 to 86400"),
        ({**TEXT, "seconds": float("nan")}, "from 0 to 86400"),
        ({**TEXT, "seconds": "10m"}, "from 0 to 86400"),
        ({**TEXT, "seconds": 5, "kind": "ask"}, "from 10 to 86400"),
        ({**TEXT, "kind": "end"}, "expected kind tell, ask or close"),
        ({**TEXT, "kind": "close", "older_than": -1}, "older_than, a number from 0 to 86400"),
        ({**TEXT, "url": "http://a"}, "unknown key 'url'"),
    ],
)
def test_a_notice_that_says_something_else_is_refused(said: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parsed(said)


@pytest.mark.parametrize(
    "text",
    [
        "Attention\u202f: l'application s'arrête\u00a0!",
        "از این صفحه استفاده نمی\u200cشود.",
        "\u05d4\u05d3\u05e3 \u05d9\u05d9\u05e1\u05d2\u05e8\u200f!",
        "Back soon 👩\u200d💻 🏳️\u200d🌈",
    ],
)
def test_texts_of_all_languages_are_taken(text: str) -> None:
    assert parsed({**TEXT, "text": text}).text == text
    assert policy(notices={"idle": text}).notices.idle == text


def test_silence_counts_once_the_page_has_shown_the_question_all_the_time() -> None:
    question = Question(10.0)
    for now, left in ((100.0, 10.0), (105.0, 5.0), (110.0, 0.0)):
        assert question.next_showing(now) == left
        assert question.is_over(now, question.number) == (left == 0.0)
        question.confirm(question.number)
    assert not question.is_over(110.0, question.number - 1)


@pytest.mark.parametrize("missed", [1, 2])
def test_the_time_begins_anew_after_a_showing_that_was_not_confirmed(missed: int) -> None:
    question = Question(10.0)
    for number in range(1, missed + 1):
        question.next_showing(95.0 + 5.0 * number)
        question.confirm(0 if number == missed else number)
    assert question.next_showing(500.0) == 10.0
    assert not question.is_over(505.0, question.number)


def test_the_time_begins_anew_after_a_while_in_which_nothing_could_be_shown() -> None:
    """Such as while a callback has the document, in which nobody knows what the page did."""
    question = Question(60.0)
    for now in (100.0, 105.0, 110.0):
        question.next_showing(now)
        question.confirm(question.number)
    assert question.next_showing(900.0) == 60.0
    assert not question.is_over(900.0, question.number)


def test_a_report_of_silence_that_is_late_counts_for_nothing() -> None:
    question = Question(10.0)
    for now in (100.0, 105.0, 110.0):
        question.next_showing(now)
        question.confirm(question.number)
    assert question.is_over(112.0, question.number)
    assert not question.is_over(140.0, question.number)


def test_an_answered_question_is_never_over() -> None:
    question = Question(10.0)
    for now in (100.0, 105.0, 110.0):
        question.next_showing(now)
        question.confirm(question.number)
    assert question.is_over(110.0, question.number)
    question.answered = True
    assert not question.is_over(110.0, question.number)


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, True), (5.5, True), (7.0, False)])
def test_a_confirmation_counts_only_at_once(seconds: float, expected: bool) -> None:
    question = Question(10.0)
    assert not question.is_prompt(100.0)
    question.next_showing(100.0)
    assert question.is_prompt(100.0 + seconds) is expected


def test_a_question_that_nobody_repeats_is_never_over() -> None:
    question = Question(10.0)
    question.repeat(100.0, LASTS_SECONDS)
    for now in (100.0, 105.0, 110.0):
        question.next_showing(now)
        question.confirm(question.number)
    assert question.is_over(110.0, question.number)
    question.last = 100.0 + LASTS_SECONDS
    assert not question.is_over(100.0 + LASTS_SECONDS, question.number)
    question.repeat(110.0, LASTS_SECONDS)
    assert question.is_over(100.0 + LASTS_SECONDS, question.number)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"id": "2"}, True),
        ({"text": "Another one"}, False),
        ({"seconds": 700}, False),
        ({"idle_for": 60}, False),
    ],
)
def test_a_question_is_repeated_by_one_that_says_the_same(
    more: dict[str, Any], expected: bool
) -> None:
    question = {**TEXT, "kind": "ask"}
    assert parsed(question).says_what(parsed({**question, **more})) is expected


def test_a_late_confirmation_of_an_earlier_showing_confirms_nothing() -> None:
    question = Question(10.0)
    question.next_showing(100.0)
    question.confirm(1)
    question.next_showing(105.0)
    question.confirm(1)
    assert question.next_showing(110.0) == 10.0


CHANGED = {"kind": "ModelChanged", "model": {"id": "p1"}, "attr": "value", "new": 1}
RANGE = {**CHANGED, "attr": "start"}
DISAPPEARS = {**CHANGED, "attr": "_destroyed"}
COMES_BACK = {"kind": "MessageSent", "msg_data": {"name": "client_reconnected"}}


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        pytest.param("PATCH-DOC", {"events": [CHANGED]}, True, id="a widget changes"),
        pytest.param("PUSH-DOC", {"doc": {}}, True, id="a client sends its document"),
        pytest.param("PULL-DOC-REQ", {}, False, id="a page asks for its document"),
        pytest.param("PATCH-DOC", {"events": [{"kind": "RootAdded"}]}, False, id="it comes back"),
        pytest.param("PATCH-DOC", {"events": [COMES_BACK]}, False, id="and tells of it"),
        pytest.param("PATCH-DOC", {"events": [COMES_BACK, CHANGED]}, True, id="with a change"),
        pytest.param("PATCH-DOC", {"events": [RANGE]}, True, id="the user pans"),
        pytest.param("PATCH-DOC", {"events": [DISAPPEARS]}, False, id="a notification goes"),
        pytest.param("PATCH-DOC", {"events": []}, True, id="nothing known"),
        pytest.param("PATCH-DOC", {"events": "x"}, True, id="no list"),
        pytest.param("PATCH-DOC", {"events": [7]}, True, id="no change"),
        pytest.param("PATCH-DOC", None, True, id="no content"),
    ],
)
def test_what_a_page_sends_when_it_has_a_new_connection_is_no_use_of_it(
    kind: str, content: Any, expected: bool
) -> None:
    assert is_use(SimpleNamespace(msgtype=kind, content=content)) is expected


@pytest.mark.parametrize(
    ("events", "seconds", "expected"),
    [
        ([RANGE], 0.1, False),
        ([RANGE], 2.5, True),
        ([RANGE, CHANGED], 0.1, True),
        ([CHANGED], 0.1, True),
    ],
)
def test_ranges_that_follow_a_change_by_the_app_are_no_use(
    events: list[Any], seconds: float, expected: bool
) -> None:
    patch = SimpleNamespace(msgtype="PATCH-DOC", content={"events": events})
    assert is_use(patch, seconds) is expected


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A sidecar whose pod has no workers."""
    (tmp_path / "token").write_text("right\n")
    guard = TokenGuard(TokenFile(tmp_path / "token"), ["/state"])
    yield from _served(guard)


@pytest.fixture
def open_port() -> Iterator[int]:
    """The same without a token file."""
    yield from _served(None)


def _served(guard: TokenGuard | None) -> Iterator[int]:
    observer = PodObserver(f"test-{secrets.token_hex(4)}", *free_ports(1))
    pages = server(observer, "127.0.0.1", 0, guard)
    pages.start()
    yield pages.port
    pages.close()


def send(port: int, body: bytes, token: str = "right", method: str = "POST") -> tuple[int, str]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        client.request(method, "/notice", body, {"Authorization": f"Bearer {token}"})
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    finally:
        client.close()


def notice(**values: Any) -> bytes:
    return json.dumps({"text": "A new version comes", "seconds": 600, **values}).encode()


def test_only_who_shows_the_token_gives_notices(port: int, open_port: int) -> None:
    assert send(port, notice(), "wrong")[0] == 401
    assert json.loads(send(port, notice())[1]) == WORKERS_0
    status, words = send(open_port, notice())
    assert status == 403
    assert "--token-file" in words


def test_a_notice_is_only_posted(port: int) -> None:
    assert send(port, b"", method="GET")[0] == 405


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"[" * 4000, b"\xff", notice(text="")])
def test_a_body_that_is_no_notice_is_refused(port: int, body: bytes) -> None:
    status, words = send(port, body)
    assert status == 400
    assert words.startswith("invalid notice: ")


def test_a_long_body_is_refused_before_it_is_read(port: int) -> None:
    assert send(port, notice(text="a" * 5000))[0] == 413


def test_notices_are_limited_and_questions_count_apart(port: int) -> None:
    assert [send(port, notice())[0] for _ in range(MOST)] == [200] * MOST
    assert send(port, notice())[0] == 429
    assert send(port, notice(kind="ask"))[0] == 200


def test_a_notice_cannot_choose_its_own_id(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert send(port, notice(id="chosen"))[0] == 200
    assert "chosen" not in capfd.readouterr().err
