"""Our manifests as an operator gets them: rendered by `kubectl kustomize`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.lab.build import KUBERNETES, installed

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
RECOMMENDED = FOLDER / "recommended"
BIG_DATA = FOLDER.parent / "examples" / "big-data"
STICKY = ("sticky-haproxy", "sticky-nginx")  # one of them at a time
OTHERS = (
    "gateway-api",
    "hpa-cpu-only",
    "monitoring",
    "prometheus",
    "sidecar-token",
    "zero-touch",
    "scaling-policies",
)
COMPONENTS = (*STICKY, "sticky-services", *OTHERS)

Object = Mapping[str, Any]


def kubectl() -> Path | None:
    """The built kubectl, or the machine's own."""
    if programs := installed(KUBERNETES):
        return programs / "kubectl"
    found = shutil.which("kubectl")
    return Path(found) if found else None


def overlay(folder: Path, components: Iterable[str] = (), **settings: Any) -> Path:
    """A kustomization in `folder` over our base, as an operator would write one.

    settings: further fields, such as `namespace` and `patches`.
    """
    return _over(folder, FOLDER / "base", FOLDER / "components", components, settings)


def recommended(folder: Path, **settings: Any) -> Path:
    """The same over what we recommend, which names its components itself."""
    return _over(folder, RECOMMENDED, FOLDER / "components", (), settings)


def big_data(folder: Path, components: Iterable[str] = (), **settings: Any) -> Path:
    """The same over the example for big data, which has components of its own."""
    return _over(folder, BIG_DATA, BIG_DATA, components, settings)


def _over(
    folder: Path, base: Path, parts: Path, components: Iterable[str], settings: Mapping[str, Any]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "resources": [os.path.relpath(base, folder)],
        "components": [os.path.relpath(parts / name, folder) for name in components],
        **settings,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def pinned(component: str) -> tuple[str, str]:
    """The tag and the digest of its only image."""
    text = (FOLDER / "components" / component / "kustomization.yaml").read_text()
    [image] = yaml.safe_load(text)["images"]
    return image["newTag"], image["digest"]


def run_kubectl(program: Path, *words: str | Path) -> str:
    """What it prints. Fails with what it complains of; nothing is said on success."""
    command = [str(program), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, f"kubectl {' '.join(command[1:])}: {result.stderr}"
    assert not result.stderr, result.stderr  # warnings of Pod Security and of kustomize
    return result.stdout


def apply_objects(program: Path, access: Path, objects: Iterable[Object], folder: Path) -> None:
    """As an operator would from a file, which goes into `folder`. access: a kubeconfig file."""
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    run_kubectl(program, "apply", "--kubeconfig", access, "--validate=strict", "-f", file)


def render(program: Path, folder: Path) -> list[Object]:
    return list(yaml.safe_load_all(run_kubectl(program, "kustomize", folder)))


def one(objects: Iterable[Object], kind: str, name: str) -> Any:
    return next(o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))


def pod_specs(objects: Iterable[Object]) -> Iterator[tuple[str, Any]]:
    """Name and pod spec of every Deployment."""
    for each in objects:
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(spec: Mapping[str, Sequence[Object]]) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]
