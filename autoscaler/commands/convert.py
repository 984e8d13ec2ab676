"""`autoscaler convert`: write a policy for an HPA or a ScaledObject of KEDA."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from autoscaler.adapters.policies.convert import Conversion, Conversions, Instead, convert
from autoscaler.commands.arguments import label_name, object_name
from autoscaler.commands.check import describe
from autoscaler.commands.lines import complain
from autoscaler.commands.manifests import manifest
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy
from autoscaler.policy.fields import MAX_REPLICAS
from exporter.texts import visible

FAILED, BAD_INPUT = 1, 2
# Kinds of other objects that one message names.
MOST_KINDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Write a policy with the target, bounds, metrics and behavior of a HorizontalPodAutoscaler "
        "or of a ScaledObject of KEDA. Each setting that has no equivalent, or another meaning, "
        "is one line on standard error, with its line and path in the manifest."
    )
    parser.epilog = (
        "Exit code: 0 if a policy was written; 1 if standard output takes no more; 2 for wrong "
        "input, and nothing is written."
    )
    parser.add_argument(
        "manifest",
        metavar="FILE",
        help="manifest with one or several documents or a list, or `-` for standard input, such as "
        "what `kubectl get hpa -o yaml` prints",
    )
    parser.add_argument(
        "--seats",
        type=_seats,
        metavar="N",
        help="sessions that one pod may hold: adds a session metric, by which pods are added "
        "before users find no seat",
    )
    parser.add_argument(
        "--deployment",
        metavar="NAME",
        type=object_name,
        help="Deployment that the policy scales, such as the second one of an adoption (default: "
        "the one that the autoscaler scales)",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        type=label_name,
        help="name of the policy (default: the one of the autoscaler)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file to write, which must not exist, in place of standard output; a directory gets "
        "a file for each policy",
    )


def run(args: argparse.Namespace) -> int:
    """Write the policies, and print what has no equivalent.

    Return 2 for wrong input, 1 if standard output takes no more, else 0.
    """
    try:
        conversions = _convert(args)
        files = _files(args.output, conversions.found)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    complain(*conversions.skipped, *(note for each in conversions.found for note in each.notes))
    for file, each in files.items():
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(each.text)
        except OSError as error:
            complain(f"{visible(file)}: cannot be written ({error.strerror})")
            if not isinstance(error, FileExistsError):
                with suppress(OSError):
                    file.unlink()  # what a full disk left of it
            return BAD_INPUT
    lines = [visible(f"{file}: {describe(each.policy)}") for file, each in files.items()]
    return _print("\n".join([*lines, ""]) if files else conversions.found[0].text)


def _print(text: str) -> int:
    """Print a text, and return the exit code."""
    if sys.stdout is None:
        complain("standard output: cannot be written (it is closed)")
        return FAILED
    sys.stdout.write(text)
    return 0


def _convert(args: argparse.Namespace) -> Conversions:
    """Return the policies, at least one. Raises PolicyError."""
    path, documents = manifest(args.manifest)
    name = visible(path)
    conversions = convert(documents, name, args.seats, Instead(args.deployment, args.name))
    if not conversions.found:
        wanted = "expected a HorizontalPodAutoscaler or ScaledObject"
        seen = ", ".join(conversions.others[:MOST_KINDS])
        nothing = f"{name}: has nothing to convert, {wanted}{seen and f', found {seen}'}"
        raise AutoscalerError("\n".join([*conversions.skipped, nothing]))
    return conversions


def _files(name: str | None, found: Sequence[Conversion]) -> dict[Path, Conversion]:
    """Return the files to write; none for standard output. Raises AutoscalerError."""
    output = None if name is None else Path(name)
    into = output is not None and output.is_dir()
    if name is not None and not into and name.endswith(("/", "/.")):
        raise AutoscalerError(f"{visible(name)}: is no directory; create it, or name a file")
    if len(found) > 1 and not into:
        names = ", ".join(each.policy.name for each in found)
        wanted = "set --output to a directory that exists, such as policies/"
        raise AutoscalerError(f"{len(found)} policies ({names}), and a file has one: {wanted}")
    if output is None:
        return {}
    if clash := _clash([each.policy for each in found]):
        raise AutoscalerError(clash)
    files = {output / f"{each.policy.name}.yaml" if into else output: each for each in found}
    for file in files:
        if file.exists():
            raise AutoscalerError(f"{visible(file)}: exists; remove it, or set another --output")
    return files


def _clash(policies: Sequence[Policy]) -> str:
    """Return which policies have one name, or ""."""
    by_name: dict[str, list[str]] = {}
    for each in policies:
        by_name.setdefault(each.name, []).append(str(each.target.ref))
    shared = {name: targets for name, targets in by_name.items() if len(targets) > 1}
    told = (f"{name} for {' and '.join(targets)}" for name, targets in shared.items())
    return f"policies of one name: {', '.join(told)}; convert each alone" if shared else ""


def _seats(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= MAX_REPLICAS:
        wanted = f"expected a whole number from 1 to {MAX_REPLICAS}"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}")
    return number
