"""Servers that carry Bokeh's sessions in other ways than `bokeh serve`, as scripts to launch.

Each has an application at /app, a stream of 80 events in 8 s at /export, and /health.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.bokeh_servers import Served, free_port, served

EVENTS = """
import asyncio

async def events():
    for number in range(80):
        yield f"data: {number}\\n\\n".encode()
        await asyncio.sleep(0.1)
"""
PANEL_ON_FASTAPI = f"""{EVENTS}
import panel as pn
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from panel.io.fastapi import add_application

app = FastAPI()

@app.get("/health")
async def health():
    return "ok"

@app.get("/export")
async def export():
    return StreamingResponse(events(), media_type="text/event-stream")

@app.websocket("/chat")
async def chat(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())

@add_application("/app", app=app, title="an app")
def view():
    return pn.widgets.IntSlider(name="number")
"""
# bokeh-fastapi alone, in a FastAPI that is mounted in another one.
MOUNTED = f"""{EVENTS}
import time
from bokeh.models import Div
from bokeh_fastapi import BokehFastAPI
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

def page(document):
    arguments = document.session_context.request.arguments
    if "busy" in arguments:
        time.sleep(float(arguments["busy"][0]))
    document.add_root(Div(text="hello"))

inner = FastAPI()
BokehFastAPI({{"/app": page}}, app=inner, check_unused_sessions_milliseconds=500)
app = FastAPI()

@app.get("/health")
async def health():
    return "ok"

@app.get("/export")
async def export():
    return StreamingResponse(events(), media_type="text/event-stream")

app.mount("/inner", inner)
"""
DJANGO = f"""{EVENTS}
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="secret", ALLOWED_HOSTS=["*"], ROOT_URLCONF="main",
    INSTALLED_APPS=["channels", "bokeh_django"],
)
django.setup()

from bokeh.models import Div
from bokeh_django import document
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import CookieMiddleware
from django.apps import apps
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

async def export(request):
    return StreamingHttpResponse(events(), content_type="text/event-stream")

async def health(request):
    return HttpResponse("ok")

def page(doc):
    doc.add_root(Div(text="hello"))

urlpatterns = [path("export", export), path("health", health)]
bokeh_apps = [document("app", page)]
routes = apps.get_app_config("bokeh_django").routes
app = ProtocolTypeRouter({{
    "http": CookieMiddleware(URLRouter(routes.get_http_urlpatterns())),
    "websocket": CookieMiddleware(URLRouter(routes.get_websocket_urlpatterns())),
}})
"""
# With the loop that it takes by itself, which is uvloop's where that is installed.
UVICORN = [sys.executable, "-m", "uvicorn", "main:app", "--port", "{port}"]
GUNICORN = [
    sys.executable, "-m", "gunicorn", "main:app", "--bind", "127.0.0.1:{port}",
    "--worker-class", "uvicorn_worker.UvicornWorker",
]  # fmt: skip


@contextmanager
def carried(
    folder: Path, script: str, command: list[str], *, route: str = "/app", **more: Any
) -> Iterator[Served]:
    """Launch a command that serves `app` of main.py, the script."""
    (folder / "main.py").write_text(script)
    port = free_port()
    words = [word.format(port=port) for word in command]
    with served(folder, words, port=port, route=route, **more) as server:
        yield server
