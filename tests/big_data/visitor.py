"""A user of the app without a browser: Bokeh's own client, over a real WebSocket."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from bokeh.client import ClientSession, pull_session
from bokeh.document.events import MessageSentEvent
from bokeh.events import ButtonClick, DocumentReady, Event
from bokeh.models import Button, ColumnDataSource, Model, Select, TextInput

from tests.lab.bokeh_servers import wait_until

PATIENCE = 120.0


class Visitor:
    """One open page."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._tell(DocumentReady())  # as a browser does

    def _tell(self, event: Event) -> None:
        document = self._session.document
        document.callbacks.trigger_on_change(MessageSentEvent(document, "bokeh_event", event))
        self._session.force_roundtrip()

    def _only(self, kind: type[Model]) -> Any:
        """The only widget of its kind on the page."""
        [widget] = [each for each in self._session.document.models if isinstance(each, kind)]
        return widget

    def type(self, text: str) -> None:
        """Into the filter."""
        self._only(TextInput).value = text
        self._session.force_roundtrip()

    def choose(self, column: str) -> None:
        """What the colours show: a column's mean."""
        self._only(Select).value = column
        self._session.force_roundtrip()

    def press(self) -> None:
        """The button that lists single stars."""
        self._tell(ButtonClick(self._only(Button)))

    def _seen(self, kind: type[Model]) -> list[Any]:
        """The page's models as the server has them now."""
        with closing(pull_session(self._session.id, url=self._url)) as look:
            return [each for each in look.document.models if isinstance(each, kind)]

    def texts(self) -> list[str]:
        """What is to be read, without its markup."""
        texts = [html.unescape(each.text) for each in self._seen(_panels_text()) if each.visible]
        return [" ".join(re.sub(r"<[^>]*>", " ", text).split()) for text in texts]

    def await_text(self, part: str) -> str:
        """The text that has `part` in it, as soon as it is there."""
        found: list[str] = wait_until(
            lambda: [text for text in self.texts() if part in text], f"text: {part}", PATIENCE
        )
        return found[0]

    def picture(self) -> np.ndarray:
        """The shades of the picture as it is now, rows from the bottom up; nothing before it."""
        sources = self._seen(ColumnDataSource)
        found = [source.data["image"][0] for source in sources if "image" in source.data]
        return found[0] if found else np.zeros((0, 0))

    def await_picture(self, other_than: np.ndarray | None = None) -> np.ndarray:
        """A picture of points, as soon as there is one."""

        def there() -> list[np.ndarray]:
            levels = self.picture()
            fresh = other_than is None or not np.array_equal(levels, other_than)
            return [levels] if levels.any() and fresh else []

        found: list[np.ndarray] = wait_until(there, "a picture", PATIENCE)
        return found[0]


@contextmanager
def visit(url: str) -> Iterator[Visitor]:
    """Open the page; closed at the end."""
    _panels_text()  # a page with models that the client does not know cannot be read
    with closing(pull_session(url=url)) as session:
        yield Visitor(session, url)


def _panels_text() -> type[Model]:
    """Panel's own, imported only here: it adds scripts to every page that Bokeh writes after it."""
    from panel.models.markup import HTML

    return HTML
