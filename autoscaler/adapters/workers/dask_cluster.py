"""Simulations on a Dask cluster whose workers have this package. No other module imports Dask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from autoscaler.errors import AutoscalerError
from autoscaler.simulation.tuning import Outcome, RunTasks, Study, Task, measure

# Seconds until the scheduler must have answered, and have a worker.
PATIENCE = 10.0


@contextmanager
def dask_cluster(study: Study, address: str) -> Iterator[RunTasks]:
    """Provide the workers of a scheduler for the tasks of a study, which each gets once.

    address: such as tcp://scheduler:8786. Tasks that have not ended are canceled when the context
    is left. Raises AutoscalerError.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        reason = "--dask needs the package distributed; run pip install distributed"
        raise AutoscalerError(reason) from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except OSError as error:
        reason = f"Dask at {address}: cannot connect ({error}); check --dask and that it runs"
        raise AutoscalerError(reason) from None
    with client:
        yield _runner(client, address, study)


def _runner(client: Any, address: str, study: Study) -> RunTasks:
    """Return what runs tasks on a cluster. Raises AutoscalerError."""
    from distributed import CancelledError, KilledWorker, as_completed

    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        # A worker without our package could not tell the reason when it gets the study.
        client.run(exec, f"import {measure.__module__}")
    except TimeoutError:
        raise AutoscalerError(f"Dask at {address}: has no worker; start one") from None
    except ModuleNotFoundError as error:
        lack = f"Dask at {address}: a worker lacks the module {error.name}"
        reason = f"{lack}; install this version of bokeh-autoscaler[daemon] on all workers"
        raise AutoscalerError(reason) from None
    shared = client.scatter(study, broadcast=True)

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        futures = {client.submit(_measure, shared, *task, pure=False): task for task in tasks}
        try:
            for future, outcome in as_completed(futures, loop=client.loop, with_results=True):
                yield futures[future], outcome
        except (CancelledError, KilledWorker, OSError) as error:
            reason = f"Dask at {address}: the cluster lost a simulation ({type(error).__name__})"
            raise AutoscalerError(f"{reason}; check its workers, then try again") from None
        finally:
            client.cancel(list(futures))

    return run


def _measure(study: Study, candidate: int, day: int | None) -> Outcome:
    return measure(study, Task(candidate, day))
