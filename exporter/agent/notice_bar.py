"""The bar in a page that shows a notice, and the page's answer.

The application is not changed: two data sources are hung into its document's graph, as arguments of
a callback on a property of its first root, when there is something to show. A root of its own would
not be shown by the templates of Panel. The page of another user never gets them: each session has
its own two, and what a page writes into them is read by the agent only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

CODE = Path(__file__).with_name("notice_bar.js")


class Bar:
    """The two data sources of one session. All methods are called with its document locked.

    The sources are made when they are needed: those of 200 sessions take a third of a second.
    """

    def __init__(self) -> None:
        self._notice: Any = None
        self._answer: Any = None

    @property
    def answer_id(self) -> str:
        """The ID of the model into which only the page writes its answers; "" before it has it."""
        return "" if self._answer is None else str(self._answer.id)

    def hang(self, document: Any) -> bool:
        """Hang the sources into the document, unless they are. Returns False without any root."""
        from bokeh.models import CustomJS

        root = next(iter(document.roots), None)
        if root is None:
            return False
        if self._notice is None:
            self._make()
        if self._notice.document is not document:
            root.js_on_change("tags", CustomJS(args={"notice": self._notice}, code=""))
        return True

    def _make(self) -> None:
        from bokeh.models import ColumnDataSource, CustomJS

        self._notice, self._answer = ColumnDataSource(data={}), ColumnDataSource(data={})
        both = {"notice": self._notice, "answer": self._answer}
        self._notice.js_on_change("data", CustomJS(args=both, code=_code()))

    def show(self, **values: Any) -> None:
        """Show a notice, which must differ from the last one; in a page that has the sources."""
        if self._notice is not None:
            self._notice.data = {name: [value] for name, value in values.items()}

    def heard(self) -> tuple[str, int]:
        """Return the page's last answer and the number of the notice that it answers."""
        try:
            word, number = (self._answer.data[name][0] for name in ("said", "number"))
            return (word, int(number)) if isinstance(word, str) else ("", 0)
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
            # Nothing was shown yet; and a page may write anything.
            return "", 0


@cache
def _code() -> str:
    return CODE.read_text("utf-8")
