"""A good policy file, and what is told about a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.adapters.policies.policy_file import PolicyFileError, load_policy

GOOD = """\
name: dashboards
target:
  namespace: bokeh
  deployment: bokeh-app
replicas:
  min: 2
  max: 20
metrics:
  - type: sessions
    seats: 20
"""


def problems_of(path: Path) -> list[str]:
    """The lines about a file, without its name."""
    with pytest.raises(PolicyFileError) as caught:
        load_policy(path)
    assert all(line.startswith(f"{path}:") for line in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [line.removeprefix(f"{path}:").strip() for line in caught.value.problems]


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def table(cases: dict[str, tuple[str | bytes, str]]) -> list[object]:
    return [pytest.param(*case, id=name) for name, case in cases.items()]
