"""The token of the sidecars: only its holder is answered, and it changes without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tokens import LARGEST, LAST_FOR_SECONDS, TokenError, TokenFile


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first-token\n")
    return path


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        pytest.param("Bearer first-token", True, id="the token"),
        pytest.param("bearer  first-token ", True, id="another case and blanks"),
        pytest.param("Bearer first-toke", False, id="a part of it"),
        pytest.param("Bearer first-token2", False, id="more than it"),
        pytest.param("Bearer ", False, id="none"),
        pytest.param("", False, id="no header"),
        pytest.param("Basic first-token", False, id="another scheme"),
        pytest.param("first-token", False, id="no scheme"),
        pytest.param("Bearer f\u00efrst-token\ud800", False, id="no ASCII"),
    ],
)
def test_only_the_token_is_accepted(file: Path, said: str, accepted: bool) -> None:
    assert TokenFile(file).accepts(said) is accepted


@given(st.text())
def test_no_header_raises_anything(tmp_path_factory: pytest.TempPathFactory, said: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any-token"
    path.write_text("first-token")

    assert not TokenFile(path).accepts(said)


def test_a_new_token_counts_at_once_and_the_last_one_for_a_while(file: Path) -> None:
    clock = Clock()
    tokens = TokenFile(file, clock)
    file.write_text("second-token\n")

    assert tokens.accepts("Bearer second-token")
    assert tokens.accepts("Bearer first-token")
    assert tokens.tokens() == ("second-token", "first-token")

    clock.now += LAST_FOR_SECONDS
    assert tokens.accepts("Bearer second-token")
    assert not tokens.accepts("Bearer first-token")


def test_several_lines_are_several_tokens(file: Path) -> None:
    file.write_text("new\n\n  old  \n")

    assert TokenFile(file).tokens() == ("new", "old")


WRONG = {
    "nothing": b"",
    "only blanks": b" \n\n",
    "too many lines": b"a\nb\nc\nd\ne\n",
    "a token with a blank": b"a b\n",
    "a control code": b"a\x1b[31m\n",
    "no ASCII": "tök\n".encode(),
    "too large": b"a" * (LARGEST + 1),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_file_without_a_token_accepts_nobody(file: Path, content: bytes) -> None:
    tokens = TokenFile(file)
    file.write_bytes(content)

    for attempt in (lambda: TokenFile(file), lambda: tokens.accepts("Bearer first-token")):
        with pytest.raises(TokenError, match="is invalid; expected 1 to 4 lines") as caught:
            attempt()
        assert str(caught.value).isprintable()


def test_a_file_that_is_gone_accepts_nobody(file: Path) -> None:
    tokens = TokenFile(file)
    file.unlink()

    with pytest.raises(TokenError, match="No such file or directory; mount its Secret"):
        tokens.accepts("Bearer first-token")
    with pytest.raises(TokenError, match=f"{file}: No such file"):
        TokenFile(file)
