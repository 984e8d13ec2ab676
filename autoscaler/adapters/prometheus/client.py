"""Queries by prometheus-api-client, whose errors are translated to MetricsError."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect

from autoscaler.adapters.prometheus.http import PrometheusSession, PrometheusSettings, reason
from autoscaler.errors import MetricsError


class QueryClient:
    """Runs queries. Wrap each one and the parsing of its answer in `session.reading`."""

    def __init__(self, session: PrometheusSession, settings: PrometheusSettings) -> None:
        self.session = session
        self._client = PrometheusConnect(session.address.base, session=session)
        self._timeout = {"timeout": f"{settings.timeout:g}"}

    def instant(self, query: str) -> Any:
        """Return the rows of a query at the present. Raises MetricsError with the address."""
        return self._answer(lambda: self._client.custom_query(query, params=self._timeout))

    def between(self, query: str, start: int, end: int, step: int) -> Any:
        """Return the rows of a query at each step. Times in seconds. Raises MetricsError."""
        first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
        return self._answer(
            lambda: self._client.custom_query_range(
                query, first, last, str(step), params=self._timeout
            )
        )

    def _answer(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except MetricsError:
            raise
        except requests.exceptions.RequestException as error:
            raise self.session.failure(reason(error)) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise self.session.failure(f"unusable answer: {error!r}") from None
