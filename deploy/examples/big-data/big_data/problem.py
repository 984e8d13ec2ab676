"""What went wrong, as one sentence for the reader."""

from __future__ import annotations

from http import HTTPStatus


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that cannot be met: a sentence, and the HTTP status that goes with it.

    The service sends it as `application/problem+json` (RFC 9457), the app shows the sentence.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    def content(self) -> dict[str, str | int]:
        """The members of RFC 9457 3.1; without a `type` of our own its title is the status's."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }


def bad_request(detail: str) -> Problem:
    """The reader can mend it."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)
