"""Writes the pages of docs/reference/ from the code: `python -m tests.docs.reference`.

A test holds that they are what the code says, so nobody edits them by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autoscaler.adapters.kubernetes import leases, pods
from autoscaler.commands.catalog import COMMANDS, parser_of
from autoscaler.model import Reason
from autoscaler.reporting.metrics import DaemonMetrics
from autoscaler.reporting.status import GAUGES, POLICY_LABELS, PREFIX
from exporter.cli import parser as exporter_parser
from exporter.metrics import TABLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
SCHEMA = ROOT / "policies" / "schema.json"
EXIT_CODES = """
Both programs exit with 0 for success, 1 for a failure and 2 for wrong input or usage; the reason is
one line on standard error. A command that Ctrl-C ends exits with 130, and one whose output nobody
reads any more with 141. `bokeh-exporter launch` exits with the code of the server, 126 if the
server cannot be started and 127 if its command does not exist.
"""
REASONS = """
A reason says why a number is what it is. The same word is in the log, in `autoscaler explain`, in
`bokeh_autoscaler_decisions_total{reason}` and, if an operator should know, in an Event on the
Deployment. [Holds](../never-cut.md#holds) says which of them hold a scale-down, and what ends that.
"""
POLICY = """
`metrics[sessions]` are the keys of a metric with `type: sessions`, and so on.
[policies/](../../policies/README.md) explains them with examples.
"""
# Names of Events that are no reasons of a decision.
EVENTS = {
    "SuccessfulRescale": "The replica count was changed.",
    "FailedGetScale": "The target cannot be read.",
    "FailedRescale": "The change of the replica count failed.",
    "PolicyFileRejected": "A policy file is invalid; its last valid version stays active.",
    "UnreadableAnnotation": "Pods carry a value that cannot be read, which counts as absent.",
}


class Key(NamedTuple):
    """A label or an annotation. where: the object that has it. writer: who writes it."""

    where: str
    writer: str
    meaning: str


SAFE, KARPENTER = list(pods.PROTECTED)[1:]
KEYS = {
    pods.ROUTABLE: Key(
        "label of pods",
        "you in the pod template, then the daemon",
        "`true`: the pod gets new users; `false`: it is cordoned. The Services select by it.",
    ),
    pods.CORDONED_FOR: Key(
        "annotation of pods",
        "the daemon",
        "Why the daemon cordoned the pod: `scale-down`, `full` or `reserve`.",
    ),
    pods.CORDONED_AT: Key("annotation of pods", "the daemon", "When it did so."),
    pods.OUR_COST: Key(
        "annotation of pods",
        "the daemon",
        f"The value that it wrote into `{pods.DELETION_COST}`, to know its own.",
    ),
    pods.DELETION_COST: Key(
        "annotation of pods",
        "the daemon",
        "Makes the ReplicaSet delete this pod first. Only pods without sessions have it.",
    ),
    "bokeh-autoscaler/protected": Key(
        "annotation of pods", "the daemon", "That the daemon wrote the next two."
    ),
    SAFE: Key(
        "annotation of pods",
        "the daemon",
        "`false` keeps Cluster Autoscaler from evicting a pod with sessions.",
    ),
    KARPENTER: Key(
        "annotation of pods",
        "the daemon",
        "`true` keeps Karpenter from evicting a pod with sessions.",
    ),
    pods.PAUSED: Key(
        "annotation of Deployments",
        "you",
        "Pauses the Deployment: nothing is scaled or cordoned. Its value is the reason.",
    ),
    leases.STATE: Key(
        "annotation of Leases", "the daemon", "What the next leader has to know, compressed."
    ),
    leases.POLICIES: Key(
        "annotation of Leases", "the daemon", "Which policies the leader evaluates."
    ),
    pods.ZONE: Key(
        "label of pods",
        "Kubernetes 1.35 or newer",
        "The zone of the pod's node. The open pods are in several zones.",
    ),
    pods.DEFAULT_CONTAINER: Key(
        "annotation of pods",
        "you",
        "The container whose memory and CPU count with `source: cadvisor`.",
    ),
}


def paragraph(text: str) -> str:
    """Write a text on one line, as the pages are."""
    return f"{' '.join(text.split())}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([each.replace("|", "\\|") for each in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def commands() -> str:
    """Write every command with its options."""
    parts = ["# Commands\n", paragraph(EXIT_CODES), "## autoscaler\n"]
    for name, about in COMMANDS.items():
        parts += [f"### autoscaler {name}\n", f"{about[0].upper()}{about[1:]}.\n"]
        parts.append(_options(parser_of(name)))
    parts.append("## bokeh-exporter\n")
    for name, parser in _subcommands(exporter_parser()):
        parts += [f"### bokeh-exporter {name}\n", f"{parser.description}\n", _options(parser)]
    return "\n".join(parts)


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _options(parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    shown = [
        each
        for each in parser._actions
        if each.help != argparse.SUPPRESS and not isinstance(each, argparse._HelpAction)
    ]
    rows = ((f"`{_usage(each)}`", formatter._expand_help(each)) for each in shown)
    return table(("Option", "Meaning"), rows)


def _usage(action: argparse.Action) -> str:
    """Write an option as it is typed; Python's own help differs between its releases."""
    value = action.metavar or action.dest
    if action.choices and not action.metavar:
        value = f"{{{','.join(map(str, action.choices))}}}"
    if isinstance(value, tuple):
        value = " ".join(value)
    names = ", ".join(action.option_strings)
    return " ".join(filter(None, [names, value if action.nargs != 0 else ""]))


def metrics() -> str:
    """Write every metric of the sidecar and of the daemon."""
    ours = [(each.name, each.type, each.labels, each.help) for each in TABLE]
    return "\n".join(
        [
            "# Metrics\n",
            "## Of the sidecar\n",
            "Port 9550 of each pod. The scrape adds the labels `namespace` and `pod`.\n",
            _metrics(ours),
            "## Of the daemon\n",
            "Port 9551. `policy`, `namespace` and `deployment` are the policy's name and target.\n",
            _metrics(sorted(_of_the_daemon())),
        ]
    )


def _metrics(rows: Iterable[tuple[str, str, Sequence[str], str]]) -> str:
    cells = (
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), told)
        for name, kind, labels, told in rows
    )
    return table(("Metric", "Type", "Labels", "Meaning"), cells)


def _of_the_daemon() -> Iterator[tuple[str, str, Sequence[str], str]]:
    every = DaemonMetrics()
    every.show_journal(bool)
    every.show_shards(1, bool)
    every.show_caches(tuple)
    gauges = {f"{PREFIX}_{name}": labels for name, (_, labels) in GAUGES.items()}
    for collector in vars(every.registry)["_collector_to_names"]:
        for metric in collector.collect():
            own = vars(collector).get("_labelnames", ()) or vars(metric).get("_labelnames", ())
            if metric.name in gauges:
                own = (*POLICY_LABELS, *gauges[metric.name])
            name = metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
            yield name, metric.type, tuple(own), metric.documentation


def reasons() -> str:
    """Write every reason of a decision, and every other Event."""
    return "\n".join(
        [
            "# Reasons and Events\n",
            paragraph(REASONS),
            table(("Reason", "Meaning"), ((f"`{each}`", each.meaning) for each in sorted(Reason))),
            "These Events are no reasons of a decision:\n",
            table(("Event", "Meaning"), ((f"`{name}`", told) for name, told in EVENTS.items())),
        ]
    )


def labels() -> str:
    """Write every label and annotation that is written or read."""
    rows = ((f"`{name}`", *each) for name, each in KEYS.items())
    return "\n".join(
        [
            "# Labels and annotations\n",
            "[Uninstall](../uninstall.md) removes what the daemon wrote.\n",
            table(("Name", "Where", "Written by", "Meaning"), rows),
        ]
    )


def policy() -> str:
    """Write every key of a policy."""
    schema = json.loads(SCHEMA.read_text())
    defined = schema["$defs"]
    parts = [
        "# Policy keys\n",
        paragraph(POLICY),
        table(("Key", "Value", "Default", "Meaning"), _keys(schema, defined, "")),
    ]
    return "\n".join(parts)


def _keys(
    node: Mapping[str, Any], defined: Mapping[str, Any], path: str
) -> Iterator[Sequence[str]]:
    required = node.get("required", ())
    for name, given in node["properties"].items():
        shapes = list(_shapes(given, defined))
        here = f"{path}{name}"
        told = given.get("description") or next(
            (each["description"] for each in shapes if "description" in each), ""
        )
        plain = [each for each in shapes if "properties" not in each]
        nested = [each for each in shapes if "properties" in each]
        if "const" not in given:
            yield (f"`{here}`", _values(plain, nested), _default(given, name in required), told)
        for each in nested:
            kind = each["properties"].get("type", {}).get("const")
            suffix = f"[{kind}]" if kind else ("[]" if given.get("type") == "array" else "")
            yield from _keys(each, defined, f"{here}{suffix}.")


def _shapes(node: Mapping[str, Any], defined: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the alternatives of a value, each without references."""
    if "$ref" in node:
        yield from _shapes(defined[node["$ref"].rpartition("/")[2]], defined)
    elif node.get("type") == "array":
        yield from _shapes(node["items"], defined)
    elif several := node.get("anyOf") or node.get("oneOf"):
        for each in several:
            yield from _shapes(each, defined)
    elif node.get("type") != "null":
        yield node


def _values(plain: Sequence[Mapping[str, Any]], nested: Sequence[Mapping[str, Any]]) -> str:
    told = [_value(each) for each in plain]
    return ", or ".join([*told, *(["keys below"] if nested else [])])


def _value(node: Mapping[str, Any]) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{each}`" for each in node["enum"])
    if "examples" in node:
        return f"such as {', '.join(f'`{each}`' for each in node['examples'])}"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    return {"integer": "number", "boolean": "`true`, `false`", "string": "text"}.get(
        node.get("type", ""), node.get("type", "")
    )


def _default(node: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = node.get("default")
    return f"`{json.dumps(default)}`" if isinstance(default, str | int | float) else ""


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "metrics": metrics,
    "reasons": reasons,
    "labels": labels,
    "policy": policy,
}


def main() -> None:
    """Write all pages anew."""
    for name, write in PAGES.items():
        (FOLDER / f"{name}.md").write_text(write())


if __name__ == "__main__":
    main()
