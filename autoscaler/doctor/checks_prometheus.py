"""Whether Prometheus has what the daemon reads, once, and as often as the daemon expects."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.doctor.ages import is_young
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.doctor.manifests import exporters, is_ready, pods
from autoscaler.doctor.trusting import trusting_sidecar
from autoscaler.units import counted, duration_text

# The daemon ignores samples that are older than two scrapes.
SCRAPES = 2.0
# An interval that is a little longer is one of a busy Prometheus.
TOLERANCE = 1.2
UNCOUNTED = (
    "A pod without a session count is taken for full and busy: pods are added for nothing and none "
    "is removed"
)
JOB = (
    "# a PodMonitor, or the job of deploy/kubernetes/components/prometheus/prometheus.yml\n"
    "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nspec:\n"
    "  podMetricsEndpoints:\n    - {port: bokeh-metrics}"
)


def not_scraped(facts: Facts) -> Iterator[Finding]:
    """Prometheus must scrape each pod that has run for a while."""
    seen = facts.scrapes
    if seen is None or seen.problem or facts.ref is None:
        return
    scraped = seen.pods | seen.up
    judged = [pod for pod in pods(facts) if not is_young(facts, pod)]
    missing = sorted({pod["metadata"]["name"] for pod in judged if is_ready(pod)} - scraped)
    if missing or (not scraped and (judged or not pods(facts))):
        what = f"{counted(len(missing), 'ready pod')}, such as {missing[0]}" if missing else "any"
        why = f" ({seen.hint})" if seen.hint else ""
        yield error(
            "not-scraped",
            f'Prometheus, bokeh_sessions{{namespace="{facts.ref.namespace}"}} of {what}{why}',
            f"{UNCOUNTED}.",
            JOB,
        )


def nothing_counted(facts: Facts) -> Iterator[Finding]:
    """A sidecar that is scraped must count the sessions of a server."""
    silent = facts.scrapes.up - facts.scrapes.pods if facts.scrapes else frozenset()
    found = [
        (pod, sidecar)
        for pod in pods(facts)
        if pod["metadata"]["name"] in silent and not is_young(facts, pod)
        for sidecar in exporters(pod["spec"], facts.exporter_port)[:1]
    ]
    if not found:
        return
    pod, sidecar = found[0]
    yield error(
        "nothing-counted",
        f"Prometheus, no bokeh_sessions of {counted(len(found), 'pod')} whose exporter is up, such "
        f"as {pod['metadata']['name']}",
        f"{UNCOUNTED}. The sidecar is scraped and counts no server: none serves yet, or the "
        "sidecar does not trust the user that it runs as.",
        trusting_sidecar(facts, pod, sidecar),
    )


def counts_estimated(facts: Facts) -> Iterator[Finding]:
    """The sidecar must trust the processes that know their sessions."""
    names = {pod["metadata"]["name"]: pod for pod in pods(facts) if is_ready(pod)}
    estimated = sorted(names.keys() & (facts.scrapes.estimated if facts.scrapes else frozenset()))
    if not estimated:
        return
    first = estimated[0]
    sidecars = exporters(names[first]["spec"], facts.exporter_port)
    if not sidecars:  # which is a finding of its own
        return
    yield warning(
        "counts-estimated",
        f'Prometheus, bokeh_sessions{{quality="estimated"}} of {counted(len(estimated), "pod")}, '
        f"such as {first}",
        "Connections are counted in place of users, so there are more pods than needed and they "
        "become empty later: no process with an agent runs there, or the sidecar does not trust "
        "the user that it runs as.",
        trusting_sidecar(facts, names[first], sidecars[0]),
    )


def scraped_twice(facts: Facts) -> Iterator[Finding]:
    """Each series must be there once."""
    for pod, copies in (facts.scrapes.twice if facts.scrapes else ())[:1]:
        yield warning(
            "scraped-twice",
            f"Prometheus, bokeh_sessions of {pod}, with {' and '.join(copies)}",
            "The daemon counts each pod once, but sums in dashboards, alerts and the PromQL of "
            "policies count every user several times.",
            "# keep one of the jobs; for the other one\nrelabel_configs:\n"
            "  - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: bokeh-metrics,"
            " action: drop}"
            if copies[0].startswith("job=")
            else "# ask a store that leaves copies out (Thanos: --query.replica-label), or select "
            f"one\nargs: [run, '--prometheus-match={copies[0]}']    # of the daemon",
        )


def scraped_too_rarely(facts: Facts) -> Iterator[Finding]:
    """The daemon must know how old a sample may be."""
    interval = facts.scrapes.interval if facts.scrapes else None
    if interval is None or interval <= TOLERANCE * facts.scrape_interval:
        return
    make = error if interval > SCRAPES * facts.scrape_interval else warning
    real, told = duration_text(round(interval)), duration_text(facts.scrape_interval)
    place = facts.daemon
    yield make(
        "scrape-interval-too-short",
        f"daemon, --scrape-interval={told}, but Prometheus scrapes every {real}",
        "The daemon takes samples for missing that are older than two scrapes, so it adds pods and "
        "removes none.",
        f"args: [run, --scrape-interval={real}]    # "
        + (f"Deployment {place.namespace}/{place.name}" if place else "of the daemon"),
    )
