"""What all sessions of a process share: the points, opened once, and the threads that draw."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import holoviews as hv

from big_data.memory import Memory
from big_data.picture import draw
from big_data.view import Source, View

# Datashader's loops release the GIL: as many views at once as there are cores, the others wait.
POOL = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="draw")
MEASURES = {"number of stars": "", "mean brightness": "brightness"}
KEPT = 16  # drawings, 2 MB each: the first view of every user is the same


class Store:
    """The points of a folder, in memory or, where DASK_SCHEDULER names one, on a Dask cluster."""

    def __init__(self, folder: Path, scheduler: str = "") -> None:
        self._folder, self._scheduler = folder, scheduler
        self._lock = Lock()
        self._source: Source | None = None
        self._first: hv.Image | None = None
        self.draw = functools.lru_cache(maxsize=KEPT)(self._draw)

    def source(self) -> Source:
        """Opened by the first who asks; after a Problem the next one tries again."""
        with self._lock:
            if self._source is None:
                self._source = self._open()
            return self._source

    def _open(self) -> Source:
        if not self._scheduler:
            return Memory(self._folder)
        from big_data.cluster import Cluster  # half a second, where it is used

        return Cluster(self._folder, self._scheduler)

    def whole(self, measure: str = "") -> View:
        """Everything there is. Raises Problem."""
        x, y = self.source().extent
        return View(x, y, measure=measure)

    def first(self) -> hv.Image | None:
        """The whole, if it has been drawn before, so that nobody waits for it."""
        return self._first

    def warm(self, measures: Iterable[str]) -> None:
        """Read the points and have the loops compiled before the first user comes."""
        for measure in measures:
            self.draw(self.whole(measure))

    def _draw(self, view: View) -> hv.Image:
        image = draw(self.source(), view)
        if view == self.whole():
            self._first = image
        return image


@functools.cache
def store() -> Store:
    """That of this process, as the environment says."""
    folder = Path(os.environ.get("BIG_DATA_FOLDER", "data"))
    return Store(folder, os.environ.get("DASK_SCHEDULER", ""))
