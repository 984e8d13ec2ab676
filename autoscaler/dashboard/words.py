"""The texts of the page as HTML. Each text from elsewhere is escaped. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from autoscaler.dashboard.edits import Outcome
from autoscaler.errors import AutoscalerError
from autoscaler.html_report.page import table_html
from autoscaler.model import Recommendation
from autoscaler.reporting.decision_fields import decision_of
from autoscaler.reporting.explanation import steps_in_words
from autoscaler.reporting.status_report import PolicyStatus, StatusReport
from autoscaler.simulation.live import Costs, Held, meaning_of
from autoscaler.simulation.timeline import Change, Table
from autoscaler.units import counted, duration_text
from exporter.texts import visible

# Changes of the replica count in the list.
MOST_CHANGES = 50
Clock = Callable[[float], str]


def paragraph(text: str, kind: str = "") -> str:
    """Return a text as a paragraph. kind: a class of the style sheet."""
    return f'<p class="{kind}">{escape(visible(text))}</p>' if text else ""


def problems_html(problems: Iterable[str]) -> str:
    """Return what cannot be read or is rejected, a paragraph each."""
    return "".join(paragraph(each, "problem") for each in problems)


def notes(report: StatusReport, status: PolicyStatus | None) -> Iterator[str]:
    """Yield what is wrong with the chosen target, and with each policy file."""
    if status is not None:
        yield from status.notes()
    yield from report.file_notes()


def now_html(status: PolicyStatus) -> str:
    """Return what the daemon saw and decided in its last pass."""
    held = "" if status.held_for is None else f" (for {duration_text(round(status.held_for))})"
    told = f"<p><strong>{escape(visible(status.reason))}</strong>{escape(held)}: "
    told += f"{escape(visible(status.detail))}</p>"
    numbers = table_html(Table(("now", ""), tuple(_numbers(status))))
    return f'<div class="table">{numbers}</div>{told}'


def _numbers(status: PolicyStatus) -> Iterator[tuple[str, str]]:
    more = " or more" if status.without_data else ""
    if status.sessions is not None:
        yield "sessions", f"{status.sessions}{more}"
    if status.seats is not None:
        yield "seats", f"{status.seats.capacity}, of which {status.seats.free} are free"
    if status.learned is not None:
        yield "learned", status.learned
    if replicas := status.replicas:
        move = "" if replicas.desired == replicas.current else f" -> {replicas.desired}"
        bounds = f"{replicas.min} to {replicas.max} allowed"
        yield "replicas", f"{replicas.current}{move} ({replicas.ready} ready, {bounds})"
    if pods := status.pods:
        states = ("open", "reserve", "full", "draining", "starting")
        found = (f"{getattr(pods, state)} {state}" for state in states if getattr(pods, state))
        yield "pods", ", ".join(found) or "none"
        if pods.draining:
            yield "wait for", f"{counted(pods.waiting, 'user')} on draining pods"
        if pods.leaving:
            yield "leaving", f"{counted(pods.leaving, 'user')} on pods that are being deleted"
    if status.paused:
        yield "paused", status.paused
    if status.age is not None:
        yield "last pass", f"{duration_text(round(status.age))} ago"


def decision_html(status: PolicyStatus) -> str:
    """Return what each metric asks for, and how the number came about."""
    if status.decision is None:
        return ""
    try:
        decision = decision_of(status.decision)
    except AutoscalerError as error:
        return paragraph(str(error), "problem")
    asked = _list("ul", map(_asked, decision.recommendations))
    steps = _list("ul", steps_in_words(decision))
    return f"{paragraph(meaning_of(status.reason))}{asked}{steps}"


def _asked(metric: Recommendation) -> str:
    number = "nothing" if metric.replicas is None else counted(metric.replicas, "replica")
    return f"{metric.metric} asks for {number}: {metric.detail.removeprefix(f'{metric.metric}: ')}"


def _list(kind: str, texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(visible(text))}</li>" for text in texts)
    return f"<{kind}>{items}</{kind}>" if items else ""


def changes_html(changes: Sequence[Change], clock: Clock) -> str:
    """Return the last changes of the replica count with their reasons, the newest first."""
    if not changes:
        return paragraph("The replica count was not changed in this time.")
    rows = tuple(
        (clock(each.at), f"{each.before} → {each.after}", _because(each.reason, each.detail))
        for each in changes[: -MOST_CHANGES - 1 : -1]
    )
    return f'<div class="table words">{table_html(Table(("when", "replicas", "why"), rows))}</div>'


def holds_html(holds: Sequence[Held], interval: float | None, clock: Clock) -> str:
    """Return what held scale-downs, and for how long. interval: seconds from pass to pass."""
    if not holds:
        return paragraph("Nothing held a scale-down in this time.")
    rows = tuple(
        (
            _because(each.reason, meaning_of(each.reason)),
            _lasted(each.passes, interval),
            clock(each.last),
        )
        for each in holds
    )
    return f'<div class="table words">{table_html(Table(("held by", "for", "last"), rows))}</div>'


def _because(reason: str, words: str) -> str:
    return f"{reason}: {words}" if reason and reason != words else words


def _lasted(passes: int, interval: float | None) -> str:
    told = f"{passes} pass{'' if passes == 1 else 'es'}"
    return told if interval is None else f"{told}, {duration_text(round(passes * interval))}"


def costs_html(costs: Costs | None, price: float | None) -> str:
    """Return the replica-hours, the least ones, and money where a price is known."""
    if costs is None:
        return paragraph("The daemon has told no costs in this time: they need a sessions metric.")
    found = {
        "billed": costs.billed,
        "sticky bound: as sessions stay": costs.sticky,
        "fluid bound: if they could move": costs.fluid,
    }
    money = ("cost",) if price is not None else ()
    rows = tuple(
        (name, f"{hours:,.2f}", *([f"{hours * price:,.2f}"] if price is not None else []))
        for name, hours in found.items()
    )
    regret = (
        "" if costs.regret is None else f"Regret: {costs.regret:.1f} % above the sticky bound. "
    )
    seen = f"{regret}The bounds were known for {costs.hours:,.2f} h."
    table = table_html(Table(("", "replica-hours", *money), rows))
    return f'<div class="table">{table}</div>{paragraph(seen)}'


def progress_html(share: float) -> str:
    """Return a bar for the share of a simulation that is done."""
    percent = f"{100 * share:.0f}"
    return (
        f"<label>Simulating the last 7 days: {percent} %<br>"
        f'<progress max="100" value="{percent}"></progress></label>'
    )


def wrong_html(problems: str) -> str:
    """Return what is wrong with a policy, as the commands print it."""
    lines = "\n".join(visible(line) for line in problems.split("\n"))
    return f'<pre class="problem">{escape(lines)}</pre>'


def outcome_html(outcome: Outcome) -> str:
    """Return the scores of an edited policy beside those of the active one, and the verdict."""
    edits = (f"{each.path}: {_value(each.old)} -> {_value(each.new)}" for each in outcome.settings)
    changed = _list("ul", edits) or paragraph("The settings are equal.")
    table = table_html(outcome.table)
    told = f"<p><strong>{escape(visible(outcome.verdict))}</strong></p>"
    return f'{told}{changed}<div class="table">{table}</div>{paragraph(outcome.note)}'


def _value(value: object) -> str:
    return "(not set)" if value is None else json.dumps(value)
