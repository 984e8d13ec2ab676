"""All checks, and what they find in the facts. Pure.

To add a check, write a function from the facts to its findings, and add it to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from autoscaler.doctor import (
    checks_ending,
    checks_exporter,
    checks_label,
    checks_page,
    checks_pods,
    checks_policies,
    checks_prometheus,
    checks_proxy,
    checks_resources,
    checks_rights,
    checks_scaling,
    checks_server,
    checks_trust,
)
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, Severity

Check = Callable[[Facts], Iterator[Finding]]
# Of one severity, findings are in this order: what hurts most is first.
CHECKS: tuple[Check, ...] = (
    checks_scaling.no_deployment,
    checks_scaling.not_adopted,
    checks_page.page_does_not_open,
    checks_page.not_a_bokeh_page,
    checks_page.page_shared,
    checks_page.script_missing,
    checks_page.websocket_refused,
    checks_page.websocket_closed,
    checks_page.page_and_websocket_apart,
    checks_page.idle_timeout,
    checks_scaling.other_autoscaler,
    checks_pods.pods_not_starting,
    checks_pods.pods_not_ready,
    checks_proxy.pods_not_created,
    checks_label.service_without_pods,
    checks_proxy.sticky_proxy_down,
    checks_label.service_port_unknown,
    checks_label.label_in_selector,
    checks_label.label_missing,
    checks_label.pods_without_label,
    checks_label.service_sends_to_cordoned,
    checks_scaling.replicas_in_manifest,
    checks_ending.no_launcher,
    checks_ending.launcher_behind_shell,
    checks_ending.grace_too_short,
    checks_ending.recreated,
    checks_server.probe_creates_sessions,
    checks_exporter.no_exporter,
    checks_exporter.pods_without_exporter,
    checks_exporter.exporter_not_running,
    checks_exporter.exporter_blocked,
    checks_exporter.exporter_unreachable,
    checks_scaling.daemon_not_running,
    checks_policies.no_policy,
    checks_policies.policy_rejected,
    checks_rights.rights_missing,
    checks_prometheus.not_scraped,
    checks_prometheus.nothing_counted,
    checks_prometheus.scraped_too_rarely,
    checks_prometheus.scraped_twice,
    checks_prometheus.counts_estimated,
    checks_trust.notices_not_taken,
    checks_scaling.no_daemon,
    checks_label.no_service,
    checks_proxy.sticky_proxy_without_pods,
    checks_server.no_affinity,
    checks_server.no_key,
    checks_page.header_limit,
    checks_page.token_expires,
    checks_server.token_expiration,
    checks_server.any_origin,
    checks_resources.no_cpu_request,
    checks_resources.no_memory_limit,
    checks_ending.budget_blocks,
    checks_ending.budget_missing,
    checks_server.session_discarded,
    checks_resources.memory_evicted,
    checks_ending.pods_end_first,
    checks_scaling.paused,
)
ORDER = list(Severity)


def examine(every: Iterable[Facts]) -> list[Finding]:
    """Return what all checks find, each once, errors first."""
    found = dict.fromkeys(f for facts in every for check in CHECKS for f in check(facts))
    return sorted(found, key=lambda each: ORDER.index(each.severity))
