"""A journal of the daemon as a trace."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from autoscaler.adapters.journals import JournalFiles
from autoscaler.adapters.traces.opening import Progress, first_bytes
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.model import TargetRef
from autoscaler.simulation.recorded import Recording
from autoscaler.simulation.trace import Trace

BEGINNING = b'{"v":'


def is_journal(path: Path) -> bool:
    """Return whether a file begins as a journal. Raises TraceError if it cannot be read."""
    return first_bytes(path).startswith(BEGINNING)


def load_journal(path: Path, target: TargetRef, progress: Progress) -> Trace:
    """Return the sessions of a Deployment, or of the only one in the journal. Raises TraceError."""
    files = JournalFiles([path], progress)
    recordings: dict[TargetRef, Recording] = defaultdict(Recording)
    for entry in files.entries():
        recordings[entry.policy.target.ref].add(entry)
    if not recordings:
        raise TraceError("\n".join(files.problems))
    if target not in recordings and len(recordings) > 1:
        known = ", ".join(map(str, recordings))
        raise TraceError(f"{path}: no decision about {target}, expected one of {known}")
    found = target if target in recordings else next(iter(recordings))
    try:
        trace = recordings[found].trace(f"{path.name}, {found}")
    except ValueError as error:
        raise TraceError(f"{path}: {error}") from None
    told = [f"Not read: {problem}." for problem in files.problems]
    return replace(trace, note=" ".join([trace.note, *told]))
