"""What the service says of itself on /metrics, beside the process's own CPU and memory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("big_data_requests", "Requests answered.", ("page", "code"))
IN_FLIGHT = Gauge("big_data_requests_in_flight", "Requests being answered.")
SECONDS = Histogram(
    "big_data_request_duration_seconds",
    "From a request to its answer.",
    ("page",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ROWS = Counter("big_data_rows_served", "Rows of points sent.")
# Never a label: what people ask for that is not served.
PAGES = ("/points", "/columns", "/shards")


def install(app: FastAPI) -> None:
    """Count the requests of an app and serve the counts. One process: run no uvicorn workers."""
    for page in PAGES:
        SECONDS.labels(page)
        REQUESTS.labels(page, "200")

    @app.get("/metrics")
    def metrics() -> Response:
        """In the text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.middleware("http")
    async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path in ("/metrics", "/healthz", "/readyz"):
            return await answer(request)
        page = request.url.path if request.url.path in PAGES else "other"
        code, began = "500", time.perf_counter()
        try:
            with IN_FLIGHT.track_inprogress():
                response = await answer(request)
            code = str(response.status_code)
        finally:
            SECONDS.labels(page).observe(time.perf_counter() - began)
            REQUESTS.labels(page, code).inc()
        return response
