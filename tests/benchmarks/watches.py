"""Watches of the API server: each change is told at the moment that the server tells of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from urllib3.exceptions import HTTPError

from tests.lab.access import end_watch

Seen = Callable[[str, Mapping[str, Any]], None]
LONGEST = 3_600  # seconds of one watch


@contextmanager
def watching(list_objects: Callable[..., Any], namespace: str, seen: Seen) -> Iterator[None]:
    """Follow a kind of objects in a thread. seen: gets ADDED, MODIFIED or DELETED and the object.

    list_objects: of the client, such as `list_namespaced_deployment`. Those that are there already
    are told as added.
    """
    stream = list_objects(namespace, watch=True, timeout_seconds=LONGEST, _preload_content=False)

    def follow() -> None:
        with suppress(HTTPError):  # the end of the block cuts the stream
            for line in stream:
                event = json.loads(line)
                seen(event["type"], event["object"])

    thread = threading.Thread(target=follow, name="watch")
    thread.start()
    try:
        yield
    finally:
        end_watch(stream)
        thread.join()
