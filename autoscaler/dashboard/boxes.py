"""Places for text on the page."""

from __future__ import annotations

from bokeh.models import InlineStyleSheet
from bokeh.models.widgets import Div

from autoscaler.html_report.page import STYLE

LIVE_STYLE = """\
.problem { color: #8c2d04; font-weight: 600; overflow-wrap: anywhere; }
.words th, .words td { text-align: left; vertical-align: top; }
p, li { margin: 4px 0; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
progress { width: 100%; max-width: 420px; }
"""


def text_box(name: str) -> Div:
    """Return an empty place for HTML with the style of the page, which does not reach into it."""
    sheet = InlineStyleSheet(css=STYLE + LIVE_STYLE)
    return Div(name=name, text="", sizing_mode="stretch_width", stylesheets=[sheet])


def put(box: Div, html: str) -> None:
    """Show HTML, and leave a selection of the reader if it is the same."""
    if box.text != html:
        box.text = html
