"""The bar in a page that shows a notice, and the page's answer.

The application is not changed: two callbacks are hung into its document's graph, at a property of
one of its roots, when there is something to show. A root of its own would not be shown by the
templates of Panel, and an application that looks for its one data source or widget must not find
ours. The page of another user never gets them: each session has its own two, and what a page writes
into them is read by the agent only.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

CODE = Path(__file__).with_name("notice_bar.js")
# In a text: what a user may have changed, or what would begin anew.
STATEFUL = re.compile(
    r"<(?:input|textarea|select|details|iframe|video|audio|canvas|object|embed|form|script|dialog)"
    r"|<\w+-|contenteditable",
    re.IGNORECASE,
)
MOST_IDS = 16  # of models that an application has removed, into which its page may still write


class Bar:
    """The two models of one session. All methods are called with its document locked.

    They are made when they are needed, because those of 200 sessions take a third of a second, and
    again when the application has removed the root at which they hung. The page knows the bar by
    its key: models of two servers in one page may have the same ID.
    """

    def __init__(self) -> None:
        self._key = secrets.token_hex(8)
        self._notice: Any = None
        self._answer: Any = None
        self._ids: deque[str] = deque(maxlen=MOST_IDS)

    @property
    def answer_ids(self) -> list[str]:
        """The IDs of the models into which only the page writes its answers."""
        return list(self._ids)

    def hangs_in(self, document: Any) -> bool:
        """Return whether the page of a document can show what the bar says."""
        return self._notice is not None and self._notice.document is document

    def hang(self, document: Any) -> bool:
        """Hang the models into the document, unless they are. Returns False without a place."""
        if self.hangs_in(document):
            return True
        place = _place_in(document.roots)
        if place is None:
            return False
        self._make()
        place.js_on_change("tags", self._notice)
        return True

    def _make(self) -> None:
        from bokeh.models import CustomJS

        self._notice, self._answer = CustomJS(code=""), CustomJS(code="")
        both = {"notice": self._notice, "answer": self._answer}
        self._notice.js_on_change("tags", CustomJS(args=both, code=_code()))
        self._ids.append(str(self._answer.id))

    def show(self, **values: Any) -> None:
        """Show a notice, which must differ from the last one; in a page that has the models."""
        if self._notice is not None:
            self._notice.tags = [json.dumps({"bar": self._key, **values})]

    def heard(self) -> tuple[str, int]:
        """Return the page's last answer and the number of the notice that it answers."""
        try:
            word, number = self._answer.tags
            return (word, int(number)) if isinstance(word, str) else ("", 0)
        except (AttributeError, TypeError, ValueError, OverflowError):
            # Nothing was shown yet; and a page may write anything.
            return "", 0


def _place_in(roots: Sequence[Any]) -> Any:
    """Return a model whose view is not rendered anew when the bar hangs at it, or None.

    BokehJS renders texts and tables anew with any change. What a user has typed into an input in
    such a text would be lost.
    """
    from bokeh.models.widgets import CellFormatter, DataTable, Div, Paragraph, PreText

    tables = [root for root in roots if isinstance(root, DataTable)]
    texts = [root for root in roots if isinstance(root, Div | Paragraph | PreText)]
    others = (root for root in roots if root not in [*tables, *texts])
    within = (each for table in tables for each in table.references())
    formatters = (each for each in within if isinstance(each, CellFormatter))
    plain = (each for each in texts if not STATEFUL.search(str(each.text)))
    return next(chain(others, formatters, plain), None)


@cache
def _code() -> str:
    return CODE.read_text("utf-8")
