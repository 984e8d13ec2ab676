"""All checks, and what they find in the facts. Pure.

To add a check, write a function from the facts to its findings, and add it to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from autoscaler.doctor import checks_label, checks_page, checks_scaling
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, Severity

Check = Callable[[Facts], Iterator[Finding]]
# Of one severity, findings are in this order: what hurts most is first.
CHECKS: tuple[Check, ...] = (
    checks_scaling.no_deployment,
    checks_page.page_does_not_open,
    checks_page.not_a_bokeh_page,
    checks_page.websocket_refused,
    checks_page.websocket_closed,
    checks_page.page_and_websocket_apart,
    checks_page.idle_timeout,
    checks_scaling.other_autoscaler,
    checks_label.service_without_pods,
    checks_label.label_in_selector,
    checks_label.label_missing,
    checks_label.pods_without_label,
    checks_label.service_sends_to_cordoned,
    checks_scaling.replicas_in_manifest,
    checks_scaling.rights_missing,
    checks_scaling.no_daemon,
    checks_label.no_service,
    checks_page.header_limit,
    checks_page.token_expires,
    checks_scaling.paused,
)
ORDER = list(Severity)


def examine(every: Iterable[Facts]) -> list[Finding]:
    """Return what all checks find, each once, errors first."""
    found = dict.fromkeys(f for facts in every for check in CHECKS for f in check(facts))
    return sorted(found, key=lambda each: ORDER.index(each.severity))
