"""All points in the memory of a Dask cluster, for when one machine no longer holds them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Lock

import dask
import dask.dataframe as dd
from distributed import Client
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from big_data import shards
from big_data.problem import Problem
from big_data.view import View, X, Y, filtered

PATIENCE = "5s"  # until a scheduler that does not answer is given up
GONE = (OSError, TimeoutError, CommClosedError, CancelledError, KilledWorker)


class Cluster:
    """The same frame as in memory, a partition for each shard, on the workers of a scheduler.

    The workers read the shards from the same path as this process.
    """

    def __init__(self, folder: Path, address: str) -> None:
        """Have the workers read the shards. Raises Problem."""
        dask.config.set({"distributed.comm.timeouts.connect": PATIENCE})
        found = shards.stamps(folder)
        self.schema = shards.schema(found)
        self.rows = sum(shards.rows(stamp.path) for stamp in found)
        self._folder, self._address = folder, address
        self._client: Client | None = None
        self._lock = Lock()
        with self.reading():
            places = self._points()[[X, Y]]
            low, high = dask.compute(places.min(), places.max())
        self.extent = (float(low[X]), float(high[X])), (float(low[Y]), float(high[Y]))

    def frame(self, view: View) -> dd.DataFrame:
        """All points, in as many parts as there are shards. To be used in `reading`."""
        return self._points()[list(view.columns())].map_partitions(filtered, view)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Says that the scheduler is gone. Raises Problem."""
        try:
            yield
        except GONE as error:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the Dask scheduler {self._address} does not answer: start it or "
                f"unset DASK_SCHEDULER ({type(error).__name__})",
            ) from error

    def _points(self) -> dd.DataFrame:
        """Read by the workers once, and again by those of a new scheduler."""
        with self._lock:
            if self._client is None or self._client.status != "running":
                self._client = Client(self._address, timeout=PATIENCE)
                self._persisted = dd.read_parquet(self._folder).persist()
            return self._persisted
