"""`autoscaler demo`: scale real Bokeh servers on this machine with the real controller."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.commands.lines import complain
from autoscaler.demo.run import DemoTick, Plan, Summary, run_demo, seats_of
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.timeline import Table
from exporter.texts import visible

# The policy in a checkout; an installation from a wheel has a copy next to the example app.
POLICY = Path("policies/sessions.yaml")
# Sessions at the peak, in pods: enough for a few steps up and down.
PODS_AT_PEAK = 3.25
BOLD, DIM, PLAIN = "\033[1m", "\033[2m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.add_argument(
        "--app", metavar="FILE", type=Path, help="Bokeh app to serve (default: an example app)"
    )
    parser.add_argument(
        "--policy", metavar="FILE", type=Path, help=f"policy file to scale by (default: {POLICY})"
    )
    parser.add_argument(
        "--users",
        metavar="N",
        type=int,
        help="number of simulated users at the peak (default: enough for four pods)",
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=float,
        default=115.0,
        help="duration of the demo in seconds (default: 115)",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        default=Path("demo-report.html"),
        help="file to write the report to (default: demo-report.html)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo, write the report, and return the exit code: 0 if no session was cut."""
    import autoscaler.html_report.page  # noqa: F401 - if Bokeh is missing, fail now and not after the demo

    if args.app is not None and not args.app.is_file():
        complain(f"autoscaler demo: no such file: {args.app}; set --app to a Bokeh app")
        return 2
    with as_file(files("autoscaler.demo") / "app.py") as app:
        return _run(args, args.app or app, PolicyFiles([args.policy or _ready_policy(app)]))


def _ready_policy(app: Path) -> Path:
    """Return the ready-made policy: of this folder, of a wheel, or of an editable installation."""
    checkout = app.parents[2]
    places = (POLICY, app.with_name(POLICY.name), checkout / POLICY)
    return next((place for place in places if place.exists()), POLICY)


def _run(args: argparse.Namespace, app: Path, policies: PolicyFiles) -> int:
    loaded = policies.load()
    if not loaded.policies:
        complain(*(line for lines in loaded.problems.values() for line in lines))
        return 2
    policy = loaded.policies[0]
    users = args.users or round(PODS_AT_PEAK * seats_of(policy))
    plan = Plan(app, policy, seconds=args.seconds, peak=users)
    _introduce(plan)
    try:
        with tempfile.TemporaryDirectory() as logs:
            summary = run_demo(plan, policies, Path(logs), Screen(sys.stdout.isatty()))
    except AutoscalerError as error:
        complain(f"autoscaler demo: {error}")
        return 1
    return _conclude(summary, policy.name, args.html)


class Screen:
    """Prints a line at each change of the replica count, and every two seconds."""

    def __init__(self, color: bool) -> None:
        self._color = color
        self._last = -2.0

    def __call__(self, tick: DemoTick) -> None:
        """Show one tick."""
        outcome = tick.result.outcomes[0] if tick.result.outcomes else None
        changed = outcome is not None and outcome.changed
        if not changed and tick.wall - self._last < 2.0:
            return
        self._last = tick.wall
        line = visible(
            f"{tick.wall:5.1f} s  {_clock(tick.at)}  {tick.sessions:3d} sessions  "
            f"{tick.ready:2d} of {tick.replicas:2d} replicas ready  {_words(tick)}"
        )
        if self._color:
            line = f"{BOLD if changed else DIM}{line}{PLAIN}"
        print(line, flush=True)


def _introduce(plan: Plan) -> None:
    print(
        f"Scaling {plan.app.name} by policy {plan.policy.name} for {plan.seconds:.0f} s.\n"
        f"The servers are real, and up to {plan.peak} simulated users open real WebSockets. The\n"
        f"policy's time (second column) runs {plan.pace:.0f} times as fast as real time.\n"
    )


def _words(tick: DemoTick) -> str:
    if not tick.result.outcomes:
        return ""
    outcome = tick.result.outcomes[0]
    if outcome.problem or outcome.decision is None:
        return outcome.problem or ""
    decision = outcome.decision
    if outcome.changed:
        return f"{decision.current} -> {decision.desired}: {decision.detail}"
    return decision.detail if decision.steps else ""


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _conclude(summary: Summary, name: str, html: Path) -> int:
    from autoscaler.html_report.page import write_report

    timeline = summary.timeline
    rows = (
        ("sessions served", str(summary.served)),
        ("users refused", str(summary.refused)),
        ("sessions cut", str(summary.cut)),
        ("peak replicas", f"{timeline.billed.peak:.0f}"),
        ("changes of the replica count", str(len(timeline.changes))),
        ("replica-hours (policy time)", f"{summary.replica_hours:.2f}"),
    )
    print()
    for label, value in rows:
        print(f"{label:<30}{value:>8}")
    write_report(html, timeline, Table(("", "this run"), rows), f"Demo of policy {name}")
    print(f"\nReport: {html}")
    return 1 if summary.cut else 0
