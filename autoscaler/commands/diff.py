"""`autoscaler diff`: what an edit of a policy changes: its settings, its decisions, its scores."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autoscaler.commands import input_options, inputs
from autoscaler.commands.arguments import add_price
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.policy.difference import settings

if TYPE_CHECKING:
    from autoscaler.simulation.comparison import Contender, Result
    from autoscaler.simulation.difference import Moment
    from autoscaler.simulation.trace import Trace

BAD_INPUT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("policy", type=Path, metavar="OLD", help="policy file before the edit")
    parser.add_argument("new", metavar="NEW", help="policy file after the edit")
    input_options.add_replay(parser)
    add_price(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Simulate both policies and print how they differ. Returns 2 for wrong input, else 0."""
    from autoscaler.simulation.comparison import compare

    args.against = [args.new]
    try:
        (old, *others), trace, notes = inputs.load(args)
        if len(others) > 1:
            raise AutoscalerError(f"{args.new}: has {len(others)} policies, expected one")
        both = [old._replace(name="old"), others[0]._replace(name="new")]
        with progress("simulating") as show:
            results = compare(both, trace, show)[: len(both)]
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    if args.json:
        print(json.dumps(_document(args, both, trace, results), indent=2))
    else:
        _tell(args, both, trace, results, notes)
    return 0


def _document(
    args: argparse.Namespace, both: Sequence[Contender], trace: Trace, results: Sequence[Result]
) -> dict[str, object]:
    from autoscaler.simulation import difference
    from autoscaler.simulation.summary import figures, provenance
    from autoscaler.simulation.uncertainty import uncertainty
    from autoscaler.simulation.verdict import verdict

    changed = settings(*(each.policy for each in both))
    before, after = (each.run.timeline for each in results)
    decisions = difference.decisions(before, after)
    found = uncertainty(results, trace, inputs.zone_of(args, both[0].policy))
    shown = figures(results, args.price, found)
    return {
        "settings": [each._asdict() for each in changed],
        "decisions": {
            "differ_percent": round(100 * decisions.share, 4),
            "first": [
                {"at": each.at, "old": each.old, "new": each.new} for each in decisions.moments
            ],
        },
        **{
            each.name: {
                **scored,
                **provenance(each.policy, trace, each.assumptions),
                "verdict": verdict(each.policy, each.assumptions, result.score),
            }
            for each, scored, result in zip(both, shown, results, strict=True)
        },
    }


def _tell(
    args: argparse.Namespace,
    both: Sequence[Contender],
    trace: Trace,
    results: Sequence[Result],
    notes: Sequence[str],
) -> None:
    from autoscaler.commands.scores import print_table
    from autoscaler.simulation import difference
    from autoscaler.simulation.summary import conditions, seats_text, table
    from autoscaler.simulation.uncertainty import lines, uncertainty

    old, new = both
    changed = settings(old.policy, new.policy)
    before, after = (each.run.timeline for each in results)
    decisions = difference.decisions(before, after)
    zone, when_full = inputs.zone_of(args, old.policy), old.assumptions.when_full
    if not changed:
        say("The settings are equal.")
    say(*map(str, changed))
    say(f"The desired replicas differ for {100 * decisions.share:.1f} % of the time.")
    for moment in decisions.moments:
        say(_moment(moment, ZoneInfo(zone)))
    say(*seats_text(results))
    print_table(table(results, when_full, args.price, brief=True))
    found = uncertainty(results, trace, zone)
    sure = lines(found, when_full) if found else ()
    say(*sure, " ".join([conditions(old.policy, trace, old.assumptions), *notes]))


def _moment(moment: Moment, zone: ZoneInfo) -> str:
    when = datetime.fromtimestamp(moment.at, UTC).astimezone(zone)
    text = f"{when:%a %Y-%m-%d %H:%M:%S}: {moment.old} -> {moment.new} replicas"
    return f"{text}, {moment.change.reason}: {moment.change.detail}" if moment.change else text
