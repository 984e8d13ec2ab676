"""Asks the service for rows, and passes on what it says."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests

from big_data.filters import Range
from big_data.problem import Problem
from big_data.view import View, X, Y

PATIENCE = 10.0  # seconds
SHOWN = 10  # rows


def rows(service: str, view: View) -> dict[str, list[Any]]:
    """The first points in a view that its filter lets through, by column. Raises Problem."""
    query = [*_query(view), ("limit", str(SHOWN))]
    try:
        answer = requests.get(f"{service}/points", params=query, timeout=PATIENCE)
        content = answer.json()
    except requests.RequestException as error:
        reason = type(error).__name__
        raise Problem(
            HTTPStatus.BAD_GATEWAY, f"the service {service} does not answer ({reason})"
        ) from error
    if not answer.ok:
        raise Problem(HTTPStatus(answer.status_code), content["detail"])
    columns: dict[str, list[Any]] = content["columns"]
    return columns


def _query(view: View) -> list[tuple[str, str]]:
    """The view and its filter as one condition for each column."""
    corners = {X: Range(X, *view.x), Y: Range(Y, *view.y)}
    others = []
    for condition in view.conditions:
        if isinstance(condition, Range) and condition.column in corners:
            corners[condition.column] = corners[condition.column].within(condition)
        else:
            others.append(condition)
    return [(each.column, each.text()) for each in (*corners.values(), *others)]
