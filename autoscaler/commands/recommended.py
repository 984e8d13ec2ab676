"""The recommendation of a tuning on standard output, and the files that show it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from autoscaler.adapters.policies.edits import edited_text, text_diff, value_diff, whole_text
from autoscaler.adapters.policies.resource import is_resource
from autoscaler.adapters.policies.yaml import parse
from autoscaler.commands.lines import say
from autoscaler.commands.scores import print_table
from autoscaler.errors import AutoscalerError
from autoscaler.html_report.files import replace_file
from autoscaler.simulation import tuning_summary
from autoscaler.simulation.candidates import plain_policy
from autoscaler.simulation.recommendation import Recommendation
from autoscaler.simulation.summary import conditions, provenance
from autoscaler.simulation.tuning import Study


def tell(args: argparse.Namespace, study: Study, found: Recommendation) -> None:
    """Print the recommendation, and write the files that are set. Raises AutoscalerError."""
    tried = len(study.candidates)
    _, policy, assumed = study.candidates[0]
    text, diff = _written(args.policy, found)
    if args.write and text:
        _write(args.write, text, "--write")
    said = tuning_summary.sentence(found, tried)
    shown = tuning_summary.table(found, args.price)
    walked = tuning_summary.walk_forward(found)
    how = tuning_summary.method(study, len(found.finalists))
    how = f"{how} {conditions(policy, study.trace, assumed)}"
    if args.html:
        from autoscaler.html_report.pareto import pareto_html

        note = " ".join([*walked, how])
        _write(args.html, pareto_html(found, shown, said, note), "--html")
    if args.json:
        content = tuning_summary.document(found, tried, args.price, diff)
        print(json.dumps(content | provenance(policy, study.trace, assumed), indent=2))
        return
    say(said)
    print_table(shown)
    say(*diff, *walked, how)
    say(*([f"Policy: {args.write}"] if args.write and text else []), f"Report: {args.html}")


def _written(path: Path, found: Recommendation) -> tuple[str, list[str]]:
    """Return the text of the recommended policy, and its diff; empty if none is recommended."""
    if found.recommended is None or not found.recommended.candidate.edits:
        return "", []
    edits, policy, _ = found.recommended.candidate
    before = path.read_bytes().decode("utf-8-sig")
    after = edited_text(before, edits, policy)
    if after is None:
        whole = whole_text(policy, as_resource=is_resource(parse(before)))
        return whole, value_diff(plain_policy(found.current.candidate.policy), edits)
    return after, text_diff(str(path), before, after)


def _write(path: Path, text: str, option: str) -> None:
    """Write a file completely or not at all. Raises AutoscalerError."""
    try:
        replace_file(path, text)
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; set another {option}"
        raise AutoscalerError(reason) from None
