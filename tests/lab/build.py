"""Builds the real components that the tests run from their pinned Go modules, once.

`python -m tests.lab.build [NAME|all]` puts the programs into a cache outside
the repository (`$BOKEH_AUTOSCALER_CACHE`, else `~/.cache/bokeh-autoscaler`). With the programs
there it takes no time. `KUBEBUILDER_ASSETS` names a folder to take Kubernetes from instead.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.go import BuildError, alone, cache, go_command

TOOLS = Path(__file__).parent / "tools"
REPORT_EVERY = 10.0  # seconds between lines where there is no terminal to redraw


@dataclass(frozen=True)
class Component:
    """Programs of one Go module: their names and the packages that they are built from."""

    name: str
    module: Path
    packages: Mapping[str, str]
    flags: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the programs go: another pin or another flag is another folder."""
        digest = hashlib.sha256("\0".join([*self.packages.values(), *self.flags]).encode())
        for pins in sorted(self.module.iterdir()):
            digest.update(pins.read_bytes())
        return cache() / f"{self.name}-{digest.hexdigest()[:16]}"

    def missing(self, folder: Path) -> list[str]:
        return [name for name in self.packages if not (folder / name).is_file()]

    def make(self, go: str, program: str, title: str) -> None:
        """One of them, into the folder. Raises BuildError."""
        _build_program(go, self, self.packages[program], self.folder / program, title)


class Files(Component):
    """Files of other modules, as they are: the path of each in its module, and that module."""

    def make(self, go: str, program: str, title: str) -> None:
        _copy_file(go, self, self.packages[program], program)


_VERSION = "k8s.io/component-base/version.git"
_KUBERNETES_FLAGS = (
    "-ldflags",
    f"-s -w -X {_VERSION}Version=v1.36.3 -X {_VERSION}Major=1 -X {_VERSION}Minor=36",
)
KUBERNETES = Component(
    "kubernetes",
    TOOLS / "kubernetes",
    {
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    _KUBERNETES_FLAGS,
)
NODE = Component(
    "node",
    TOOLS / "kubernetes",
    {
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    },
    _KUBERNETES_FLAGS,
)
COREDNS = Component(
    "coredns",
    TOOLS / "coredns",
    {"coredns": "github.com/coredns/coredns"},
    ("-ldflags", "-s -w"),
)
PROMETHEUS = Component(
    "prometheus",
    TOOLS / "prometheus",
    {
        "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
        "promtool": "github.com/prometheus/prometheus/cmd/promtool",
    },
    # Discovery in other clouds needs modules that nothing here uses.
    ("-tags", "remove_all_sd,enable_kubernetes_sd", "-ldflags", "-s -w"),
)
HELM = Component(
    "helm",
    TOOLS / "helm",
    {"helm": "helm.sh/helm/v4/cmd/helm"},
    ("-ldflags", "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"),
)
_OPERATOR = "example/prometheus-operator-crd/monitoring.coreos.com_"
_GATEWAY = "config/crd/experimental/gateway.networking.k8s.io_"
DEFINITIONS = Files(
    "definitions",
    TOOLS / "definitions",
    {
        f"{_OPERATOR}podmonitors.yaml": "github.com/prometheus-operator/prometheus-operator",
        f"{_OPERATOR}prometheusrules.yaml": "github.com/prometheus-operator/prometheus-operator",
        f"{_GATEWAY}httproutes.yaml": "sigs.k8s.io/gateway-api",
    },
    (),
)
COMPONENTS = (KUBERNETES, PROMETHEUS, HELM, DEFINITIONS, NODE, COREDNS)


def installed(component: Component) -> Path | None:
    """The folder with the component's programs, or None when it has to be built first."""
    folder = given(component) or component.folder
    return None if component.missing(folder) else folder


def given(component: Component) -> Path | None:
    """The folder that the environment names in place of a build."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets) if assets and component is KUBERNETES else None


def build(component: Component) -> Path:
    """Build what is missing and return the folder. Raises BuildError."""
    if folder := given(component):
        if missing := component.missing(folder):
            raise BuildError(f"KUBEBUILDER_ASSETS={folder} has no {', '.join(missing)}: unset it")
        return folder
    folder = component.folder
    if component.missing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            _build_missing(component, folder)
    return folder


def _build_missing(component: Component, folder: Path) -> None:
    go = go_command()
    total = len(component.packages)
    for number, program in enumerate(component.packages, start=1):
        if not (folder / program).is_file():
            component.make(
                go, program, f"{component.name}: building {program} ({number} of {total})"
            )


def _build_program(go: str, component: Component, package: str, target: Path, title: str) -> None:
    partial, log = target.with_suffix(".partial"), target.with_suffix(".log")
    command = [go, "build", "-buildvcs=false", "-trimpath", *component.flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-o", str(partial), package],
            cwd=component.module,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        status = _await(process, title)
    if status:
        reason = _reason(log.read_text(errors="replace"))
        raise BuildError(f"{target.name} could not be built: {reason} (all of it: {log})")
    partial.replace(target)
    log.unlink()


def _copy_file(go: str, component: Files, module: str, path: str) -> None:
    for words in (["mod", "download", module], ["list", "-m", "-f", "{{.Dir}}", module]):
        result = subprocess.run(
            [go, *words], cwd=component.module, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise BuildError(f"{path} cannot be had: {_reason(result.stderr)}")
    target = component.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    shutil.copyfile(Path(result.stdout.strip()) / path, partial)
    partial.replace(target)


def _reason(said: str) -> str:
    """The first line of Go's that says what is wrong."""
    lines = said.split("\n")
    return next((line for line in lines if line and not line.startswith("go: down")), "")


def _await(process: subprocess.Popen[bytes], title: str) -> int:
    """Wait for a build and say how long it takes. Interrupted, it ends the build."""
    began, terminal = time.monotonic(), sys.stdout.isatty()
    pause = 1.0 if terminal else REPORT_EVERY
    try:
        while True:
            elapsed = time.monotonic() - began
            print(f"{title}, {elapsed:.0f} s", end="\r" if terminal else "\n", flush=True)
            try:
                return process.wait(pause)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if terminal:
            print()
        if process.poll() is None:
            process.terminate()
            process.wait()


def build_all(components: Iterable[Component]) -> int:
    """Build each and say where it is. The exit status: 1 when one could not be built."""
    status = 0
    for component in components:
        try:
            print(f"{component.name}: {build(component)}")
        except (BuildError, OSError) as error:
            print(f"{component.name}: {error}", file=sys.stderr)
            status = 1
    return status


def main(arguments: list[str] | None = None) -> int:
    names = [component.name for component in COMPONENTS]
    parser = argparse.ArgumentParser(prog="python -m tests.lab.build", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=[*names, "all"])
    wanted = parser.parse_args(arguments).what
    return build_all(each for each in COMPONENTS if wanted in (each.name, "all"))


if __name__ == "__main__":
    sys.exit(main())
