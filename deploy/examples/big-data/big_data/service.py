"""Rows of the points over HTTP: filtered, in pages, as JSON or Arrow.

`uvicorn big_data.service:app`, with BIG_DATA_FOLDER for where the Parquet files are. Stateless: all
instances with the same files give the same answers, ETags included, so any of them may answer any
request and none has to be drained.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from big_data import metrics, shards
from big_data.filters import known_column, parse
from big_data.problem import Problem, bad_request
from big_data.shards import Place, Stamp, Wanted

FOLDER = Path(os.environ.get("BIG_DATA_FOLDER", "data"))
LIMIT, LARGEST_LIMIT = 1_000, 100_000  # rows of a page
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
OWN = (
    "columns",
    "shard",
    "limit",
    "cursor",
)  # every other parameter filters the column of its name

app = FastAPI(title="Points", docs_url=None, redoc_url=None)
metrics.install(app)


@app.get("/points")
def points(request: Request) -> Response:
    """One page of rows; `next` and the Link header lead to the following one."""
    found = shards.stamps(FOLDER)
    own = {name: request.query_params[name] for name in OWN if name in request.query_params}
    wanted = _wanted(found, own, request)
    start = _place(own.get("cursor", "0-0"), len(wanted.files))
    media = _media(request.headers.get("accept", ""))
    headers = {"ETag": _tag(found, request, media), "Vary": "Accept", "Cache-Control": "no-cache"}
    if _is_known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    table, following = shards.page(wanted, start)
    metrics.ROWS.inc(table.num_rows)
    link = _following(request, following) if following else None
    if link:
        headers["Link"] = f'<{link}>; rel="next"'
    body = _arrow(table) if media == ARROW else _json(table, link)
    return Response(body, media_type=media, headers=headers)


@app.get("/columns")
def columns() -> dict[str, str]:
    """Names and types."""
    fields = shards.schema(shards.stamps(FOLDER))
    return {each.name: str(getattr(each.type, "value_type", each.type)) for each in fields}


@app.get("/shards")
def list_shards() -> list[dict[str, Any]]:
    """What can be read in parallel with `shard=NAME`."""
    return [
        {"name": stamp.path.name, "rows": shards.rows(stamp.path), "bytes": stamp.size}
        for stamp in shards.stamps(FOLDER)
    ]


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@app.get("/readyz")
def readyz() -> dict[str, str]:
    """There is something to serve."""
    shards.schema(shards.stamps(FOLDER))
    return {"status": "ok"}


def _wanted(found: tuple[Stamp, ...], own: dict[str, str], request: Request) -> Wanted:
    schema = shards.schema(found)
    names = [name for name in own.get("columns", "").split(",") if name] or schema.names
    filters = [pair for pair in request.query_params.multi_items() if pair[0] not in OWN]
    return Wanted(
        columns=tuple(known_column(name, schema) for name in names),
        conditions=parse(filters, schema),
        files=_files(found, own.get("shard")),
        limit=_limit(own.get("limit", str(LIMIT))),
    )


def _files(found: tuple[Stamp, ...], name: str | None) -> tuple[Path, ...]:
    files = tuple(stamp.path for stamp in found if name in (None, stamp.path.name))
    if not files:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no shard {name!r}: /shards lists them")
    return files


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise bad_request(f"limit={text} is no number of rows from 1 to {LARGEST_LIMIT:,}")
    return int(text)


def _place(cursor: str, files: int) -> Place:
    parts = re.fullmatch(r"(\d{1,9})-(\d{1,9})", cursor)
    if parts is None or int(parts[1]) >= files:
        raise bad_request(f"cursor={cursor} is none of ours: take it from `next` of a page")
    return Place(int(parts[1]), int(parts[2]))


def _media(accept: str) -> str:
    """The format that the client takes; JSON for those who take any."""
    offered = [word.split(";")[0].strip() for word in accept.split(",") if word.strip()]
    for each in offered or ["*/*"]:
        if each == ARROW:
            return ARROW
        if each in (JSON, "application/*", "*/*"):
            return JSON
    raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"Accept: {accept} is neither {JSON} nor {ARROW}")


def _tag(found: tuple[Stamp, ...], request: Request, media: str) -> str:
    asked = urlencode(sorted(request.query_params.multi_items()))
    digest = hashlib.sha256(f"{shards.version(found)} {media} {asked}".encode())
    return f'"{digest.hexdigest()[:32]}"'


def _is_known(if_none_match: str, tag: str) -> bool:
    """RFC 9110 13.1.2; proxies that compress make tags weak."""
    known = [word.strip().removeprefix("W/") for word in if_none_match.split(",")]
    return tag in known or known == ["*"]


def _following(request: Request, place: Place) -> str:
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
    return f"{request.url.path}?{urlencode([*pairs, ('cursor', f'{place.shard}-{place.row}')])}"


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _json(table: pa.Table, following: str | None) -> str:
    """By column, as Bokeh's data sources take it."""
    data = {name: _values(table[name]) for name in table.column_names}
    return json.dumps({"columns": data, "rows": table.num_rows, "next": following})


def _values(column: pa.ChunkedArray) -> list[Any]:
    """JSON has no NaN."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    return list(column.to_pylist())


def _problem(problem: Problem) -> JSONResponse:
    return JSONResponse(
        problem.content(), problem.status.value, media_type="application/problem+json"
    )


@app.exception_handler(Problem)
def _say(_request: Request, problem: Problem) -> JSONResponse:
    return _problem(problem)


@app.exception_handler(HTTPException)
def _say_http(request: Request, error: HTTPException) -> JSONResponse:
    """No such page, or a method that it does not have."""
    pages = "/points, /columns, /shards, /metrics, /healthz and /readyz"
    detail = f"{request.method} {request.url.path} is not served: GET {pages} are"
    return _problem(Problem(HTTPStatus(error.status_code), detail))


@app.exception_handler(Exception)
def _say_any(request: Request, _error: Exception) -> JSONResponse:
    """The traceback is in the log, which uvicorn writes."""
    detail = f"{request.url.path} failed by a fault of this service: its log says how"
    return _problem(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
