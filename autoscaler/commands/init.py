"""`autoscaler init`: write what adopts a running app, and the steps that lose nobody."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoscaler.adapters.policies.kinds import objects
from autoscaler.adapters.policies.yaml import path_text
from autoscaler.adapters.shipped import shipped
from autoscaler.adoption.app import Choices, UnclearError, app_of, seen_in
from autoscaler.adoption.files import STEPS, files
from autoscaler.adoption.plan import adopt, is_adopted
from autoscaler.adoption.shapes import misshapen, present
from autoscaler.adoption.steps import page
from autoscaler.commands.arguments import label_name, whole
from autoscaler.commands.connect import add_kubeconfig
from autoscaler.commands.doctor import DAEMON
from autoscaler.commands.lines import complain, say
from autoscaler.commands.manifests import manifest
from autoscaler.commands.progress import progress
from autoscaler.doctor.facts import Facts
from autoscaler.errors import AutoscalerError, ClusterError, PolicyError
from autoscaler.html_report.files import replace_file
from autoscaler.model import TargetRef
from autoscaler.policy.fields import MAX_REPLICAS

MAX_UID, MAX_PORT = 2**31 - 1, 65_535
FAILED, BAD_INPUT = 1, 2
EXPORTER = "bokeh-exporter:0.1.0"
OUTPUT = Path("adoption")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Write what adopts a running app into a folder: a policy, kustomizations with the patches "
        "of its Deployment and Services, and the steps in which to apply them. The app is read "
        "from manifests (FILE) or from the cluster. Nothing in the cluster is changed."
    )
    parser.epilog = (
        "Exit code: 0 if the files were written, or if the app is adopted already; 1 if the "
        "cluster does not answer or a file cannot be written; 2 for wrong input, and nothing is "
        "written."
    )
    parser.add_argument(
        "manifests",
        nargs="*",
        metavar="FILE",
        help="manifest with the Deployment and its Services, or `-` for standard input "
        "(default: ask the cluster)",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=OUTPUT,
        help=f"folder to write the files to (default: {OUTPUT})",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace files that exist in the folder"
    )
    target = parser.add_argument_group("target")
    target.add_argument("--namespace", "-n", metavar="NAME", help="namespace of the Deployment")
    target.add_argument("--deployment", metavar="NAME", help="name of the Deployment")
    target.add_argument(
        "--container",
        metavar="NAME",
        help="container that serves the app (default: the one that the manifests tell)",
    )
    target.add_argument(
        "--port",
        metavar="N",
        type=lambda text: whole(text, 1, MAX_PORT),
        help="port of the pods at which users reach the app, if the manifests tell several "
        "(default: the one of the Services)",
    )
    _add_choices(parser.add_argument_group("how to adopt it"))
    add_kubeconfig(parser.add_argument_group("Kubernetes"))


def _add_choices(how: argparse._ActionsContainer) -> None:
    how.add_argument(
        "--in-place",
        action="store_true",
        help="change the Deployment itself, which ends every open session once (default: a second "
        "Deployment beside it, which ends none)",
    )
    how.add_argument(
        "--name",
        metavar="NAME",
        type=label_name,
        help="name of the second Deployment (default: the first one's with -2)",
    )
    how.add_argument(
        "--launcher",
        choices=("copied", "image"),
        default="copied",
        help="where the launcher is: copied into the pod, for an image that you cannot modify, or "
        "installed in the image (default: copied)",
    )
    how.add_argument(
        "--start",
        metavar="COMMAND",
        type=_words,
        default=(),
        help="whole command that starts the app, such as 'bokeh serve app.py', if the manifest "
        "does not have it (default: its command and args)",
    )
    how.add_argument(
        "--user",
        metavar="UID",
        type=lambda text: whole(text, 0, MAX_UID),
        help="user that the app's container runs as, which `id -u` in it prints; the sidecar then "
        "runs as a user who trusts it (default: runAsUser of the manifest, or 65532)",
    )
    how.add_argument(
        "--exporter-image",
        metavar="IMAGE",
        type=_image,
        default=EXPORTER,
        help=f"image of the sidecar and the launcher (default: {EXPORTER})",
    )
    how.add_argument(
        "--sticky",
        choices=("haproxy", "nginx"),
        help="add this proxy, which sends users back to their session (default: none)",
    )
    how.add_argument(
        "--helm",
        action="store_true",
        help="write values for the chart in place of the policy and the proxy",
    )
    how.add_argument(
        "--seats",
        metavar="N",
        type=lambda text: whole(text, 1, MAX_REPLICAS),
        default=20,
        help="sessions that one pod may hold (default: 20)",
    )


def _image(text: str) -> str:
    if not text or any(each.isspace() for each in text):
        wanted = "expected the name of an image, such as registry.example.com/bokeh-exporter:0.1.0"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}")
    return text


def _words(text: str) -> tuple[str, ...]:
    try:
        found = tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if not found:
        raise argparse.ArgumentTypeError("expected a command, such as 'bokeh serve app.py'")
    return found


def run(args: argparse.Namespace) -> int:
    """Write the files, print diff and steps, and return the exit code (see the command's help)."""
    try:
        return _run(args)
    except ClusterError as error:
        complain(f"autoscaler init: {error}")
        return FAILED
    except PolicyError as error:  # of a manifest: a line for each problem
        complain(*str(error).split("\n"))
        return BAD_INPUT
    except AutoscalerError as error:
        complain(f"autoscaler init: {error}")
        return BAD_INPUT


def _run(args: argparse.Namespace) -> int:
    choices = _choices(args)
    facts = _in_manifests(args) if args.manifests else _in_cluster(args)
    if is_adopted(facts):
        say(f"Deployment {facts.ref} is adopted already; nothing was written.")
        return 0
    app, ours = app_of(facts, choices), shipped(choices.sticky)
    adoption = adopt(app, choices, ours)
    steps = page(adoption, str(args.output))
    texts = {**files(adoption, ours), STEPS: steps}
    if not args.force:
        _refuse_existing(args.output, texts)
    if not _write(args.output, texts):
        return FAILED
    say(*adoption.diff, "", *steps.splitlines())
    say(f"Written to {args.output}: {', '.join(sorted(_main(texts)))}")
    if others := _others(args.output, texts):
        say(f"Not written by this run, so delete what an earlier one left: {', '.join(others)}")
    return 0


def _choices(args: argparse.Namespace) -> Choices:
    if args.in_place and args.name:
        raise UnclearError("--name is of a second Deployment, which --in-place does not make")
    return Choices(
        in_place=args.in_place,
        name=args.name,
        container=args.container,
        port=args.port,
        start=args.start,
        user=args.user,
        zero_touch=args.launcher == "copied",
        exporter_image=args.exporter_image,
        sticky=args.sticky,
        helm=args.helm,
        seats=args.seats,
    )


def _in_manifests(args: argparse.Namespace) -> Facts:
    found = [each for name in args.manifests for each in _objects(name)]
    return seen_in(found, args.namespace, args.deployment)


def _objects(name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a manifest. Raises AutoscalerError."""
    path, documents = manifest(name)
    for document in documents:
        for found, place in objects(document.value):
            value = present(found)
            for problem in document.problems:
                raise UnclearError(f"{path}:{problem.line}: {problem.path}: {problem.message}")
            if wrong := misshapen(value):
                line = document.line((*place, *wrong.path))
                raise UnclearError(f"{path}:{line}: {path_text(wrong.path)}: {wrong.expected}")
            yield value


def _in_cluster(args: argparse.Namespace) -> Facts:
    """Return what the cluster has. Raises AutoscalerError."""
    from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
    from autoscaler.adapters.kubernetes.inspection import Daemon, Inspector

    if not (args.namespace and args.deployment):
        raise UnclearError("name a manifest, or --namespace with --deployment")
    ref = TargetRef(args.namespace, args.deployment)
    with progress("asking the cluster") as show:
        api = KubernetesCluster.connect(args.kubeconfig, args.context).api
        seen = Inspector(api, show).inspect(ref, Daemon(*DAEMON.split("/")))
    if "deployment" in seen.absent:
        raise UnclearError(f"Deployment {ref}: there is none; set --namespace and --deployment")
    if seen.deployment is None or seen.services is None:
        raise ClusterError("; ".join(seen.unexamined))
    return Facts(ref, cluster=seen)


def _refuse_existing(folder: Path, texts: Mapping[str, str]) -> None:
    there = [each for each in texts if (folder / each).exists()]
    if there:
        raise UnclearError(f"{folder / there[0]}: exists; set another --output, or --force")


def _write(folder: Path, texts: Mapping[str, str]) -> bool:
    """Write all files, and return whether that worked."""
    for name, text in texts.items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, text)
        except OSError as error:
            complain(f"{file}: cannot be written ({error.strerror}); set another --output")
            return False
    return True


def _others(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Return the files of the folder that this run has not written."""
    found = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in found if name not in texts)


def _main(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the files that a person edits; the proxy's are copies."""
    return (each for each in texts if each.count("/") < 2)
