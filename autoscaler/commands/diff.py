"""`autoscaler diff`: what an edit of a policy changes: its settings, its decisions, its scores."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autoscaler.commands import inputs
from autoscaler.commands.arguments import add_price
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError

if TYPE_CHECKING:
    from autoscaler.simulation.comparison import Contender, Result
    from autoscaler.simulation.difference import Difference, Moment, Setting

BAD_INPUT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("policy", type=Path, metavar="OLD", help="policy file before the edit")
    parser.add_argument("new", metavar="NEW", help="policy file after the edit")
    inputs.add_replay(parser)
    add_price(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Simulate both policies and print how they differ. Returns 2 for wrong input, else 0."""
    from autoscaler.simulation import difference
    from autoscaler.simulation.comparison import compare

    args.against = [args.new]
    try:
        (old, *others), trace, _ = inputs.load(args)
        if len(others) > 1:
            raise AutoscalerError(f"{args.new}: has {len(others)} policies, expected one")
        [new] = others
        both = [old._replace(name="old"), new._replace(name="new")]
        with progress("simulating") as show:
            before, after, _ = compare(both, trace, show)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    settings = difference.settings(old.policy, new.policy)
    decisions = difference.decisions(before.run.timeline, after.run.timeline)
    if args.json:
        print(json.dumps(_document(settings, decisions, before, after), indent=2))
    else:
        _tell(args, old, settings, decisions, before, after)
    return 0


def _document(
    settings: list[Setting], decisions: Difference, before: Result, after: Result
) -> dict[str, object]:
    from autoscaler.simulation.summary import values

    return {
        "settings": [each._asdict() for each in settings],
        "decisions": {
            "differ_percent": round(100 * decisions.share, 4),
            "first": [
                {"at": each.at, "old": each.old, "new": each.new} for each in decisions.moments
            ],
        },
        "old": values(before.score, None),
        "new": values(after.score, None),
    }


def _tell(
    args: argparse.Namespace,
    old: Contender,
    settings: list[Setting],
    decisions: Difference,
    before: Result,
    after: Result,
) -> None:
    from autoscaler.commands.scores import print_table
    from autoscaler.simulation.summary import table

    if not settings:
        say("The settings are equal.")
    for each in settings:
        say(f"{each.path}: {_shown(each.old)} -> {_shown(each.new)}")
    zone = ZoneInfo(inputs.zone_of(args, old.policy))
    say(f"The desired replicas differ for {100 * decisions.share:.1f} % of the time.")
    for moment in decisions.moments:
        say(_moment(moment, zone))
    print_table(table([before, after], old.assumptions.when_full, args.price, brief=True))


def _shown(value: object) -> str:
    return "(not set)" if value is None else json.dumps(value)


def _moment(moment: Moment, zone: ZoneInfo) -> str:
    when = datetime.fromtimestamp(moment.at, UTC).astimezone(zone)
    text = f"{when:%a %Y-%m-%d %H:%M:%S}: {moment.old} -> {moment.new} replicas"
    return f"{text}, {moment.change.reason}: {moment.change.detail}" if moment.change else text
