"""`autoscaler demo`: real Bokeh servers on this machine, scaled by the real controller."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from autoscaler.adapters.policy_files import PolicyFiles
from autoscaler.demo import Picture, Plan, Summary, seats_of
from autoscaler.demo import run as play
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.timeline import Table

# In a checkout; an installation has a copy beside the example app.
POLICY = Path("policies/sessions.yaml")
# Users at the peak, in pods: enough for a few steps up and down.
PODS_AT_PEAK = 3.25
BOLD, DIM, PLAIN = "\033[1m", "\033[2m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the demo."""
    parser.add_argument("--app", metavar="FILE", type=Path, help="your own Bokeh app, one file")
    parser.add_argument("--policy", metavar="FILE", type=Path, help=f"default {POLICY}")
    parser.add_argument(
        "--users", metavar="N", type=int, help="at the peak (default: enough for four pods)"
    )
    parser.add_argument("--seconds", metavar="N", type=float, default=100.0, help="length (100)")
    parser.add_argument("--html", metavar="FILE", type=Path, default=Path("demo-report.html"))


def run(args: argparse.Namespace) -> int:
    """Play the demo and write the report; 0 if no session was cut."""
    import autoscaler.report  # noqa: F401 - where Bokeh is missing, say so before two minutes are up

    if args.app is not None and not args.app.is_file():
        print(f"autoscaler demo: {args.app}: no such file: give a Bokeh app", file=sys.stderr)
        return 2
    examples = files("autoscaler.examples")
    with as_file(examples / "dashboard.py") as app, as_file(examples / POLICY.name) as policy:
        chosen = args.policy or (POLICY if POLICY.exists() else policy)
        return _play(args, args.app or app, PolicyFiles([chosen]))


def _play(args: argparse.Namespace, app: Path, policies: PolicyFiles) -> int:
    loaded = policies.load()
    if not loaded.policies:
        problems = [line for lines in loaded.problems.values() for line in lines]
        print("\n".join(problems), file=sys.stderr)
        return 2
    policy = loaded.policies[0]
    users = args.users or round(PODS_AT_PEAK * seats_of(policy))
    plan = Plan(app, policy, seconds=args.seconds, peak=users)
    _introduce(plan)
    try:
        with tempfile.TemporaryDirectory() as logs:
            summary = play(plan, policies, Path(logs), Screen(sys.stdout.isatty()))
    except AutoscalerError as error:
        print(f"autoscaler demo: {error}", file=sys.stderr)
        return 1
    return _conclude(summary, policy.name, args.html)


class Screen:
    """Prints a line for each change and every two seconds."""

    def __init__(self, color: bool) -> None:
        self._color = color
        self._last = -2.0

    def __call__(self, picture: Picture) -> None:
        """One tick."""
        outcome = picture.result.outcomes[0] if picture.result.outcomes else None
        changed = outcome is not None and outcome.changed
        if not changed and picture.wall - self._last < 2.0:
            return
        self._last = picture.wall
        line = (
            f"{picture.wall:5.1f} s  {_clock(picture.at)}  {picture.users:3d} users  "
            f"{picture.ready:2d} of {picture.replicas:2d} replicas ready  {_words(picture)}"
        )
        if self._color:
            line = f"{BOLD if changed else DIM}{line}{PLAIN}"
        print(line, flush=True)


def _introduce(plan: Plan) -> None:
    print(
        f"Scaling {plan.app.name} by policy {plan.policy.name}: up to {plan.peak} users come and\n"
        f"go in {plan.seconds:.0f} s. Policy time (second column) runs {plan.pace:.0f} times as\n"
        "fast; servers and users are real.\n"
    )


def _words(picture: Picture) -> str:
    if not picture.result.outcomes:
        return ""
    outcome = picture.result.outcomes[0]
    if outcome.problem or outcome.decision is None:
        return outcome.problem or ""
    decision = outcome.decision
    if outcome.changed:
        return f"{decision.current} -> {decision.desired}: {decision.detail}"
    return decision.detail if decision.steps else ""


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _conclude(summary: Summary, name: str, html: Path) -> int:
    from autoscaler.report import write_report

    timeline = summary.timeline
    rows = (
        ("users served", str(summary.served)),
        ("users refused", str(summary.refused)),
        ("sessions cut", str(summary.cut)),
        ("most replicas", f"{timeline.billed.peak:.0f}"),
        ("changes of the replica count", str(len(timeline.changes))),
        ("replica-hours (policy time)", f"{summary.replica_hours:.2f}"),
    )
    print()
    for label, value in rows:
        print(f"{label:<30}{value:>8}")
    write_report(html, timeline, Table(("", "this run"), rows), f"Demo of policy {name}")
    print(f"\nThe whole run as a picture: {html}")
    return 1 if summary.cut else 0
