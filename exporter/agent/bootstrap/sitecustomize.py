"""Load the agent into every Python that the launcher starts.

Each of them finds this file first on its PYTHONPATH. Nothing here may disturb the application: the
agent is imported only when Bokeh's server is, an error is one line on stderr, and the user's own
`sitecustomize` runs as if this file did not exist. Imports are local, because every Python of the
container would spend time on those at the top.
"""

from __future__ import annotations

import importlib.machinery
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

HERE = __file__.rpartition("/")[0]
EXPORTER = HERE.removesuffix("/agent/bootstrap")
PACKAGE = "_bokeh_exporter"  # private, because an app may have a module named `exporter`
# The import of this module loads the agent: every server of Bokeh sessions imports it.
SERVER = "bokeh.server.contexts"
WATCHED = (
    SERVER,
    "bokeh.embed.util",
    "bokeh.server.asgi",
    "bokeh.server.core",
    "bokeh.server.protocol_handler",
    "bokeh.server.session",
    "bokeh.server.tornado",
    "channels.routing",
    "daphne.server",
    "django.core.handlers.asgi",
    "starlette.applications",
    "uvicorn.server",
)


class AfterImport:
    """A meta path finder that calls the agent right after a watched module has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec from the other finders, with a loader that calls the agent."""
        if fullname not in WATCHED:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            tell_agent_after(spec.loader, fullname)
        return spec


class OwnName:
    """A meta path finder that has `exporter`, for `exporter.hints`, where nobody else has it.

    So an application finds it also in an image in which this package is not installed.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of this copy of the package."""
        if fullname != "exporter":
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(
            fullname, f"{EXPORTER}/__init__.py", submodule_search_locations=[EXPORTER]
        )


def tell_agent_after(loader: Any, fullname: str) -> None:
    """Make this loader install the agent's hooks after the module has run."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        if fullname == SERVER or PACKAGE in sys.modules:
            guarded(lambda: load_agent().install(fullname, module))

    loader.exec_module = exec_module


def load_agent() -> Any:
    """Return the agent's entry module, imported by file path under the private name."""
    from importlib import import_module
    from importlib.util import module_from_spec, spec_from_file_location

    if PACKAGE not in sys.modules:
        spec = spec_from_file_location(
            PACKAGE, f"{EXPORTER}/__init__.py", submodule_search_locations=[EXPORTER]
        )
        package = module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[PACKAGE] = package
    table = import_module(f"{PACKAGE}.metrics")
    agent = import_module(f"{PACKAGE}.agent.hooks")
    agent.declare(table)
    return agent


def guarded(action: Callable[[], object]) -> None:
    """Run an action; an error becomes one line on stderr and never reaches the application."""
    try:
        action()
    except Exception as error:
        from contextlib import suppress

        with suppress(Exception):  # stderr may be closed or None
            sys.stderr.write(f"bokeh-exporter: cannot load the agent in this process: {error!r}\n")


def run_users_own() -> None:
    """Run the user's own sitecustomize, which this file hides."""
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


sys.path[:] = [entry for entry in sys.path if entry.rstrip("/") != HERE]
sys.meta_path.insert(0, AfterImport())
sys.meta_path.append(OwnName())
run_users_own()
