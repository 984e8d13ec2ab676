"""The subcommands of `autoscaler`, and their parsers. Each one is a module of this package."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

COMMANDS = {
    "run": "run the daemon, which scales the targets of all policies",
    "check": "check policy files and print every error in them",
    "convert": "write a policy for an HPA or a ScaledObject, and name what has no equivalent",
    "init": "write what adopts a running app, and the steps that lose no session",
    "decide": "print one scaling decision and how it was made, without scaling",
    "doctor": "report all that will hurt in a set-up, with fixes",
    "status": "show what the daemon sees and decides now, one line for each Deployment",
    "dashboard": "show in a browser what the daemon sees, decides and costs, and try policies",
    "notify": "show a notice to all users of a Deployment, in their pages",
    "replay": "decide again what a journal recorded, and print the share reproduced",
    "explain": "explain one decision of a journal in words",
    "simulate": "simulate a policy on recorded or generated sessions",
    "seats": "print how many sessions a pod can hold, by what Prometheus has recorded",
    "tune": "find the cheapest policy that meets a goal on recorded or generated sessions",
    "diff": "show what an edit of a policy changes, in its settings and on a trace",
    "remove": "remove everything that the daemon wrote into the cluster",
    "demo": "scale real Bokeh servers on this machine for two minutes",
    "users": "open an app with many real sessions, to see it scale",
    "schema": "print the JSON Schema of a policy, for editors",
    "completion": "print a script with which a shell completes the commands and their options",
}


def module_of(name: str) -> ModuleType:
    """Return the module of a command, which is imported only now."""
    return import_module(f"autoscaler.commands.{name}")


def parser_of(name: str, program: str = "autoscaler") -> argparse.ArgumentParser:
    """Return the parser of a command's options."""
    about = COMMANDS[name]
    parser = argparse.ArgumentParser(
        f"{program} {name}", description=f"{about[0].upper()}{about[1:]}."
    )
    module_of(name).add_arguments(parser)
    return parser
