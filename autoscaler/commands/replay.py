"""`autoscaler replay`: decide again what a journal recorded, and print the share reproduced."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoscaler.adapters.journals import JournalFiles
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.commands.arguments import add_journals
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.replay import Replayed, differences, replay, replay_with

DIFFERENT, BAD_INPUT = 1, 2
# Differing decisions that are told in words.
MOST_TOLD = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_journals(parser)
    parser.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="policy file to decide by, in place of the recorded policy of the same name; prints "
        "how many decisions would differ",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text lines"
    )


@dataclass
class Tally:
    """What was replayed so far. differing: the first decisions that differ."""

    decisions: int = 0
    different: int = 0
    policies: set[str] = field(default_factory=set)
    began: float = float("inf")
    ended: float = 0.0
    differing: list[Replayed] = field(default_factory=list)

    def add(self, replayed: Replayed, *, differs: bool) -> None:
        """Count one decision."""
        entry = replayed.entry
        self.decisions += 1
        self.different += differs
        self.policies.add(entry.policy.name)
        self.began, self.ended = min(self.began, entry.at), max(self.ended, entry.at)
        if differs and len(self.differing) < MOST_TOLD:
            self.differing.append(replayed)

    @property
    def share(self) -> float:
        """The share of decisions that are the same, rounded down to a hundredth of a percent."""
        return (self.decisions - self.different) * 10_000 // self.decisions / 10_000


def run(args: argparse.Namespace) -> int:
    """Print the share and return the exit code.

    It is 1 if a decision was not reproduced, and 2 if nothing can be read.
    """
    try:
        policy = load_policy(args.policy) if args.policy else None
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    tally = Tally()
    with progress("replaying") as show:
        files = JournalFiles(args.journals, show)
        for each in replay_with(policy, files.entries()) if policy else replay(files.entries()):
            recorded, now = each.entry.decision, each.decision
            same = recorded.desired == now.desired if policy else recorded == now
            tally.add(each, differs=not same)
    complain(*files.problems)
    if not tally.decisions:
        what = f"decision of a policy named {policy.name}" if policy else "decision"
        complain(f"autoscaler replay: no {what} could be read")
        return BAD_INPUT
    if args.json:
        print(json.dumps(_document(tally, files.problems), indent=2))
    else:
        say(*_lines(tally, edited=policy is not None))
    return DIFFERENT if tally.different and policy is None else 0


def _lines(tally: Tally, *, edited: bool) -> list[str]:
    policies = "1 policy" if len(tally.policies) == 1 else f"{len(tally.policies)} policies"
    same = tally.decisions - tally.different
    span = f"from {_time(tally.began)} to {_time(tally.ended)}"
    lines = [f"{tally.decisions:,} decisions of {policies} {span}"]
    if edited:
        lines.append(f"{tally.different:,} of them would have another number of replicas")
    else:
        lines.append(f"{tally.share * 100:.2f} % reproduced: {same:,} of {tally.decisions:,}")
    for each in tally.differing:
        at, name = _time(each.entry.at), each.entry.policy.name
        lines.append(f"{name} at {at}")
        lines += [f"  {words}" for words in _differences(each, edited=edited)]
    if more := tally.different - len(tally.differing):
        lines.append(f"and {more:,} more")
    return lines


def _differences(each: Replayed, *, edited: bool) -> list[str]:
    recorded, now = each.entry.decision, each.decision
    if not edited:
        return list(differences(recorded, now))
    told = (f"{made.desired} ({made.reason}: {made.detail})" for made in (recorded, now))
    return ["recorded {}, now {}".format(*told)]


def _document(tally: Tally, problems: list[str]) -> dict[str, Any]:
    return {
        "decisions": tally.decisions,
        "reproduced": tally.decisions - tally.different,
        "share": tally.share,
        "from": _time(tally.began),
        "to": _time(tally.ended),
        "policies": sorted(tally.policies),
        "differing": [
            {
                "policy": each.entry.policy.name,
                "at": _time(each.entry.at),
                "recorded": each.entry.decision.desired,
                "replayed": each.decision.desired,
                "differences": list(differences(each.entry.decision, each.decision)),
            }
            for each in tally.differing
        ],
        "problems": problems,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
