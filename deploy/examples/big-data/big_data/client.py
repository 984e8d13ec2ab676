"""Asks the service for rows, and passes on what it says."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import requests

from big_data.problem import Problem
from big_data.view import View, X, Y

PATIENCE = 10.0  # seconds
SHOWN = 10  # rows


def rows(service: str, view: View, text: str) -> dict[str, list[Any]]:
    """The first points in a view that a filter lets through, by column. Raises Problem."""
    corners = [(X, f"{view.x[0]}..{view.x[1]}"), (Y, f"{view.y[0]}..{view.y[1]}")]
    query = [*corners, *parse_qsl(text), ("limit", str(SHOWN))]
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
