"""The findings as text and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from autoscaler.doctor.findings import Finding, Severity
from autoscaler.units import counted


def as_lines(findings: Sequence[Finding], unexamined: Sequence[str]) -> Iterator[str]:
    """Yield the lines for a person: each finding with its fix, then what was not examined."""
    for each in findings:
        yield f"{each.severity.value.upper()} {each.id}"
        yield f"  where: {each.where}"
        yield f"  what users feel: {each.feel}"
        yield "  fix:"
        yield from (f"    {line}" for line in each.fix.splitlines())
        yield ""
    yield _summary(findings, is_whole=not unexamined)
    yield from (f"not examined: {each}" for each in unexamined)


def as_json(findings: Sequence[Finding], unexamined: Sequence[str], *, is_ok: bool) -> str:
    """Return one JSON object."""
    document = {
        "ok": is_ok,
        "findings": [each.document for each in findings],
        "unexamined": list(unexamined),
    }
    return json.dumps(document, indent=2)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Return whether users lose work, or nothing is scaled."""
    return any(each.severity is Severity.ERROR for each in findings)


def _summary(findings: Sequence[Finding], *, is_whole: bool) -> str:
    counts = {kind: sum(each.severity is kind for each in findings) for kind in Severity}
    told = [counted(count, kind.value) for kind, count in counts.items() if count]
    nothing = "nothing found" if is_whole else "nothing found in what could be examined"
    return ", ".join(told) or nothing
