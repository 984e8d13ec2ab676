"""The simulation behind the editor of `autoscaler dashboard`: that of `autoscaler simulate`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.commands import inputs
from autoscaler.commands.catalog import parser_of
from autoscaler.dashboard.edits import Edit, Outcome
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.policy.difference import settings
from autoscaler.simulation import summary
from autoscaler.simulation.comparison import compare
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.verdict import verdict

# The names under which errors and tables show both policies.
EDITED, ACTIVE = Path("policy.yaml"), Path("active.yaml")
LAST = "7d"
# Seconds for which sessions that were read are replayed again.
FRESH_FOR = 600.0
# The share of the time that reading takes, if the sessions must be read.
READING = 0.3


class WhatIf:
    """Simulates edits. It reads the sessions of a target only once in a while.

    It also keeps the run of the active policy, so that an edit takes one simulation and not two.

    prometheus: the options for Prometheus, by their names in the parsed arguments.
    """

    def __init__(self, prometheus: Mapping[str, Any]) -> None:
        self._prometheus = prometheus
        self._read: dict[TargetRef, tuple[float, Trace]] = {}
        self._kept: tuple[Policy, Trace, Assumptions, Run] | None = None

    def __call__(self, edit: Edit, progress: Callable[[float], None]) -> Outcome:
        """Simulate an edit beside the active policy. Raises AutoscalerError."""
        with TemporaryDirectory() as folder, chdir(folder):
            EDITED.write_text(edit.text, encoding="utf-8")
            ACTIVE.write_text(edit.active, encoding="utf-8")
            return self._simulated(self._arguments(edit), progress)

    def _arguments(self, edit: Edit) -> argparse.Namespace:
        """Return the arguments of `autoscaler simulate`."""
        words = ["--policy", str(EDITED), "--against", str(ACTIVE), "--last", LAST]
        given = argparse.Namespace(**self._prometheus, price=edit.price)
        return parser_of("simulate").parse_args(words, given)

    def _simulated(self, args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
        sessions = self._sessions(args, lambda share: progress(READING * share))
        (own, active), trace, _ = inputs.load(args, sessions)
        both = [own._replace(name="edited"), active._replace(name="active")]
        show = partial(_part, progress)
        results = compare(both, trace, show, partial(self._run, active.policy))[:2]
        zone = inputs.zone_of(args, own.policy)
        edited, before = (
            replace(each.run.timeline, timezone=zone, demand=trace.concurrency) for each in results
        )
        return Outcome(
            tuple(settings(active.policy, own.policy)),
            summary.table(results, own.assumptions.when_full, args.price, brief=True),
            verdict(own.policy, own.assumptions, results[0].score),
            " ".join(
                [
                    summary.conditions(own.policy, trace, own.assumptions),
                    *summary.seats_text(results),
                ]
            ),
            edited,
            before,
        )

    def _sessions(self, args: argparse.Namespace, progress: Callable[[float], None]) -> Trace:
        """Return the sessions of the edited policy's target. Raises AutoscalerError."""
        policy = load_policy(args.policy)
        ref, now = policy.target.ref, time.monotonic()
        at, trace = self._read.get(ref, (-FRESH_FOR, None))
        if trace is None or now - at > FRESH_FOR:
            trace = inputs.history(args, policy, progress)
            self._read = {ref: (now, trace)}
        return trace

    def _run(
        self,
        active: Policy,
        policy: Policy,
        trace: Trace,
        assumed: Assumptions,
        progress: Callable[[float], None],
    ) -> Run:
        """Return the run of a policy; that of the active one is kept."""
        kept = self._kept
        if kept and kept[0] == policy and kept[1] is trace and kept[2] == assumed:
            return kept[3]
        run = simulate(policy, trace, assumed, progress)
        if policy == active:
            self._kept = (policy, trace, assumed, run)
        return run


def _part(progress: Callable[[float], None], share: float) -> None:
    """Tell the progress of the simulation, which begins after the sessions were read."""
    progress(READING + (1 - READING) * share)
