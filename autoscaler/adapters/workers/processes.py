"""Simulations in processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context

from autoscaler.errors import AutoscalerError
from autoscaler.simulation.tuning import Outcome, RunTasks, Study, Task, measure

# The study of a worker process.
_studies: list[Study] = []


@contextmanager
def local_processes(study: Study, jobs: int) -> Iterator[RunTasks]:
    """Provide so many processes for the tasks of a study; with one job, it is this process.

    The processes end with the context, at once if it is left by an exception. Raises
    AutoscalerError if a process was killed.
    """
    if jobs == 1:
        yield lambda tasks: ((task, measure(study, task)) for task in tasks)
        return
    others = active_children()
    # A fork would copy the locks that the thread of the progress bar holds.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (study,))

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        with _children_without_interrupts():
            futures = {pool.submit(_measure, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()

    try:
        yield run
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            if child not in others:
                child.terminate()
        if isinstance(error, BrokenProcessPool):
            reason = "a process of the simulation was killed, perhaps for its memory; set --jobs 1"
            raise AutoscalerError(reason) from None
        raise
    pool.shutdown()


@contextmanager
def _children_without_interrupts() -> Iterator[None]:
    """Let processes that start meanwhile leave Ctrl-C to this one, from their first moment on.

    They inherit the mask of signals. If this process is interrupted, it is told afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(study: Study) -> None:
    _studies.append(study)


def _measure(task: Task) -> Outcome:
    return measure(_studies[-1], task)
