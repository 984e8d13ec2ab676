"""Sessions that have ended while the application's own hooks for that still run.

`on_session_destroyed` may save a user's work for a minute after Bokeh has forgotten the session.
"""

from __future__ import annotations

from typing import Any

from . import process
from .census import is_library_app, route_of


async def discard_session(original: Any, self: Any, session: Any, *args: Any, **kw: Any) -> Any:
    """Wrap ApplicationContext._discard_session, which lasts until the application's hooks end."""
    if is_library_app(self):
        return await original(self, session, *args, **kw)
    with process.worker().parting(session, route_of(self)):
        return await original(self, session, *args, **kw)
