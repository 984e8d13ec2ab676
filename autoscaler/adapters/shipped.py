"""The manifests that come with this package, of which `autoscaler init` makes those of other apps.

They are below `deploy/` in a checkout, and below `autoscaler/shipped/` in a wheel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoscaler.adapters.policies.policy_file import read_documents
from autoscaler.errors import AutoscalerError

Json = Mapping[str, Any]
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "shipped", _PACKAGE.parent / "deploy")
_COMPONENTS = "kubernetes/components"
# What a sticky proxy consists of, where it has files of its own.
_FILES = ("{components}/sticky-{kind}", "{components}/sticky-services", "{kind}")


@dataclass(frozen=True, slots=True)
class Shipped:
    """The example app's Deployment, the patch of zero-touch, and the Services of a sticky proxy.

    rights: the daemon's Role in the app's namespace, and its RoleBinding. network: who may connect
    to the pods there. scrape_rights: rights of our Prometheus there. scrape_job: how it scrapes the
    app's namespace. proxy_files: text of each file of the proxy, by its path below `deploy/`; none
    without one.
    """

    app: Json
    agent: Json
    rights: tuple[Json, ...] = ()
    network: Json = field(default_factory=dict)
    scrape_rights: tuple[Json, ...] = ()
    scrape_job: Json = field(default_factory=dict)
    services: tuple[Json, ...] = ()
    proxy_files: Mapping[str, str] | None = None


def shipped(proxy: str | None = None) -> Shipped:
    """Return what we ship. proxy: haproxy or nginx. Raises AutoscalerError if files are missing."""
    place = next((each for each in _PLACES if (each / _COMPONENTS).is_dir()), None)
    if place is None:
        raise AutoscalerError(f"{_PLACES[0]}: the manifests are missing; install the package anew")
    app = read_documents(place / "kubernetes/base/app.yaml")[0].value
    agent = read_documents(place / _COMPONENTS / "zero-touch/agent.yaml")[0].value
    namespace, scraping = app["metadata"]["namespace"], place / _COMPONENTS / "prometheus"
    [jobs] = read_documents(scraping / "prometheus.yml")
    found = Shipped(
        app,
        agent,
        _rights(place / "kubernetes/base/rbac.yaml", namespace),
        _network(place / "kubernetes/base/networkpolicy.yaml", namespace),
        _rights(scraping / "prometheus.yaml", namespace),
        next(each for each in jobs.value["scrape_configs"] if each["job_name"] == "bokeh"),
    )
    if proxy is None:
        return found
    services = read_documents(place / _COMPONENTS / "sticky-services/services.yaml")
    return replace(
        found, services=tuple(each.value for each in services), proxy_files=_texts(place, proxy)
    )


def _rights(manifest: Path, namespace: str) -> tuple[Json, ...]:
    """Return the Role that a manifest has in a namespace, and its RoleBinding."""
    every = (each.value for each in read_documents(manifest))
    return tuple(
        each
        for each in every
        if each["kind"] in ("Role", "RoleBinding") and each["metadata"]["namespace"] == namespace
    )


def _network(manifest: Path, namespace: str) -> Json:
    """Return the NetworkPolicy that a manifest has in a namespace."""
    every = (each.value for each in read_documents(manifest))
    return next(each for each in every if each["metadata"]["namespace"] == namespace)


def _texts(place: Path, proxy: str) -> dict[str, str]:
    folders = [place / each.format(components=_COMPONENTS, kind=proxy) for each in _FILES]
    files = (file for folder in folders for file in sorted(folder.iterdir()))
    return {
        file.relative_to(place).as_posix(): file.read_text(encoding="utf-8")
        for file in files
        if file.suffix != ".md"
    }
