"""What we ship, as the node runs it: the base with our images, and Prometheus beside it.

`python -m tests.lab.stack` builds the images where needed and prints the path of each archive.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.deploy.manifests import pinned
from tests.lab.go import BuildError
from tests.lab.images import OURS, ROOT, our_image, prometheus_image, proxy_images
from tests.lab.wheels import project_version

KUBERNETES = ROOT / "deploy" / "kubernetes"
PUBLISHED = {
    **{name: f"localhost/{name}" for name in OURS},
    "prom/prometheus": "localhost/prometheus",
    "nginx": "localhost/nginx",
    "haproxy": "localhost/haproxy",
}


def archives() -> list[Path]:
    """Every image that the stack needs, built where something changed."""
    return [*map(our_image, OURS), prometheus_image(), *proxy_images()]


def names_of_the_tutorial() -> dict[str, str]:
    """The names by which the tutorial and our components pull images: what each is on the node."""
    ours, others = ("bokeh-autoscaler", "bokeh-exporter"), {"prom/prometheus": "prometheus"}
    others |= {f"library/{name}": f"sticky-{name}" for name in ("haproxy", "nginx")}
    return {
        **{
            f"registry.example.com/{name}:{project_version()}": f"localhost/{name}:test"
            for name in ours
        },
        **{
            f"docker.io/{name}@{pinned(part)[1]}": f"localhost/{Path(name).name}:test"
            for name, part in others.items()
        },
    }


def local_images() -> list[dict[str, str]]:
    """What a kustomization says to take them in place of the published ones."""
    return [{"name": name, "newName": ours, "newTag": "test"} for name, ours in PUBLISHED.items()]


def overlay(folder: Path, components: Sequence[str] = ("prometheus",)) -> Path:
    """A kustomization of the base with the locally built images; for `kubectl apply -k`."""
    here = os.path.relpath(KUBERNETES, folder.resolve())
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{here}/base"],
        "components": [f"{here}/components/{name}" for name in components],
        "images": local_images(),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def main() -> int:
    try:
        print(*archives(), sep="\n")
    except BuildError as error:
        print(f"no images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
