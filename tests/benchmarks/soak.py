"""An hour of the daemon's life with random faults: does anything that it holds grow?

`python -m tests.benchmarks.soak` lets the hour pass in minutes, with 50 policies: the daemon is
driven by a clock that is moved, over a cluster in memory; metrics, Events, log and journal are the
real ones. With `--real`, a real daemon runs in real time, with a real control plane and Prometheus.
Both print memory, threads, open files and series of each fifth of the time, and end with code 1 if
one of them grew.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client import generate_latest
from tqdm import tqdm

from autoscaler.adapters.journals import RotatingFile
from autoscaler.daemon import Daemon, Ports
from autoscaler.errors import ClusterError, ConflictError, TargetNotFoundError
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.reporting.event_recorder import EventRecorder
from autoscaler.reporting.journal import Journal
from autoscaler.reporting.logs import LogRecorder
from tests.benchmarks.figure import resident_megabytes
from tests.builders import policy
from tests.fakes import FakeClock, FakeCluster, FakePolicies
from tests.faults.faults import FAULTS
from tests.faults.scene import Scene, a_scene, a_stage
from tests.lab.objects import deployment

INTERVAL = 2.0
PERIODS = 5
JOURNAL = (1_000_000, 3)  # bytes of a file, and files: it rotates every few minutes


class Held(NamedTuple):
    """What a process holds at a moment. megabytes: of memory. files: open descriptors."""

    megabytes: float
    threads: float
    files: float
    series: float


# How much more the last fifth of the time may have than the second one, with series by policy: a
# policy meets further reasons, each of which is a series. Real connections come and go.
VIRTUAL = Held(megabytes=4.0, threads=0.0, files=0.0, series=2.0)
REAL = Held(megabytes=8.0, threads=1.0, files=2.0, series=4.0)
# All but those that need the replicas of a row, and the one that ends the journal.
ENDURED = sorted(FAULTS.keys() - {"prometheus-one-pod", "journal-disk-full"})


def held_by(pid: int, page: bytes) -> Held:
    """Return what a process holds, whose `/metrics` is the page."""
    lines = [line for line in page.splitlines() if line and not line.startswith(b"#")]
    folders = (Path(f"/proc/{pid}/{each}") for each in ("task", "fd"))
    threads, files = (len([*folder.iterdir()]) for folder in folders)
    return Held(resident_megabytes(pid), threads, files, len(lines))


def fifths(samples: Sequence[Held]) -> list[Held]:
    """Return the medians of each fifth of the time."""
    size = len(samples) // PERIODS
    parts = [samples[number * size : (number + 1) * size] for number in range(PERIODS)]
    return [Held(*(statistics.median(each) for each in zip(*part, strict=True))) for part in parts]


def grown(periods: Sequence[Held], allowed: Held) -> list[str]:
    """Return what grew after the second fifth of the time, in words; by then windows are full."""
    return [
        f"{name} grew from {before:.4g} to {after:.4g}; {more:g} more are allowed"
        for name, before, after, more in zip(
            Held._fields, periods[1], periods[-1], allowed, strict=True
        )
        if after - before > more
    ]


class Fleet:
    """Deployments in memory, whose users come and go, and whose faults begin and end by chance."""

    def __init__(self, count: int, seed: int) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(clock=self.clock)
        self._luck = random.Random(seed)
        self._made = 0
        self.policies = FakePolicies(tuple(self._new() for _ in range(count)))
        self._faults: tuple[Callable[[Policy], None], ...] = (
            self._lose_metrics,
            self._lose_target,
            self._refuse,
            self._silence,
            self._make_again,
            self._scale_by_hand,
            self._replace_policy,
            self._break_file,
            self._set_clock,
        )

    def _new(self) -> Policy:
        """One more Deployment and its policy, under names that were never there."""
        self._made += 1
        ref = TargetRef(f"team-{self._made % 7}", f"app-{self._made}")
        self.cluster.deploy(ref, *(self._luck.randrange(10) for _ in range(4)))
        return policy(
            name=f"policy-{self._made}",
            target={"namespace": ref.namespace, "deployment": ref.deployment},
            interval="2s",
            behavior={"scaleDown": {"stabilizationWindowSeconds": 60}},
            fallback={"after": "1m", "replicas": 2},
        )

    def tick(self) -> None:
        """Two seconds pass: one Deployment has other users, and now and then a fault begins."""
        self.clock.advance(INTERVAL)
        self._forget()
        chosen = self._luck.choice(self.policies.policies)
        for pod in self._pods(chosen):
            self.cluster.sessions[chosen.target.namespace, pod] = self._luck.randrange(11)
        if self._luck.random() < 0.2:
            self._luck.choice(self._faults)(self._luck.choice(self.policies.policies))

    def _pods(self, chosen: Policy) -> list[str]:
        target = self.cluster.targets.get(chosen.target.ref)
        return [pod.name for pod in target.pods] if target else []

    def _forget(self) -> None:
        """End what has lasted long enough, and all that the stand-ins remember of the past."""
        cluster = self.cluster
        if self._luck.random() < 0.1:
            cluster.failed.clear()
            cluster.failures.clear()
            cluster.silent.clear()
            self.policies.problems = {}
        there = {(ref.namespace, pod.name) for ref, t in cluster.targets.items() for pod in t.pods}
        cluster.sessions = {key: count for key, count in cluster.sessions.items() if key in there}
        cluster.changes.clear()
        cluster.events.clear()
        cluster.asked.clear()

    def _lose_metrics(self, _: Policy) -> None:
        self.cluster.failed["sessions", "exporter"] = "no answer within 5 s"

    def _lose_target(self, chosen: Policy) -> None:
        error = self._luck.choice((ClusterError, TargetNotFoundError))
        self.cluster.failures[chosen.target.ref] = error("no answer from the Kubernetes API")

    def _refuse(self, chosen: Policy) -> None:
        error = self._luck.choice((ClusterError, ConflictError))
        self.cluster.refusals.append(error(f"{chosen.target.ref} was not changed"))

    def _silence(self, chosen: Policy) -> None:
        self.cluster.silent |= set(self._pods(chosen))

    def _make_again(self, chosen: Policy) -> None:
        self.cluster.deploy(chosen.target.ref, 5, 5, uid=f"uid-{self._luck.random()}")

    def _scale_by_hand(self, chosen: Policy) -> None:
        self.cluster.edit_by_hand(chosen.target.ref, self._luck.randint(2, 6))

    def _replace_policy(self, chosen: Policy) -> None:
        """Its file and its Deployment are gone, and others are there."""
        del self.cluster.targets[chosen.target.ref]
        kept = [each for each in self.policies.policies if each is not chosen]
        self.policies.policies = (*kept, self._new())

    def _break_file(self, chosen: Policy) -> None:
        self.policies.problems = {f"{chosen.name}.yaml": (f"line {self._made}: expected a name",)}

    def _set_clock(self, _: Policy) -> None:
        self.clock.set_by(self._luck.choice((-3_600.0, 3_600.0)))


def virtual(minutes: float, policies: int, seed: int, folder: Path) -> Iterator[Held]:
    """Let so many minutes pass; yield what the process holds after every ten seconds of them."""
    fleet = Fleet(policies, seed)
    sources = Ports(fleet.policies, fleet.cluster, fleet.cluster, fleet.cluster, fleet.clock)
    journal = Journal(RotatingFile(folder / "journal.jsonl", *JOURNAL), "soak")
    daemon = Daemon(sources, [LogRecorder(), EventRecorder(fleet.cluster), journal])
    daemon.telemetry.show_journal(lambda: journal.is_writing)
    with logging_to(folder / "daemon.log"):
        for number in tqdm(range(round(60 * minutes / INTERVAL)), "passes", disable=None):
            fleet.tick()
            if daemon.run_once() is None:
                raise SystemExit("a pass failed; see the log")
            if number % 5 == 0:
                gc.collect()
                yield held_by(os.getpid(), generate_latest(daemon.telemetry.registry))


def real(minutes: float, policies: int, seed: int, folder: Path) -> Iterator[Held]:
    """Do the same in real time: the faults of `tests.faults`, one after the other."""
    luck = random.Random(seed)
    with a_stage(folder) as stage, a_scene(stage) as scene:
        for number in range(policies - 1):
            add_another(scene, f"app-{number}")
        pid = scene.start().pid
        assert pid is not None
        scene.steady()
        with tqdm(total=round(60 * minutes), desc="seconds", disable=None) as progress:
            began = time.monotonic()
            while (passed := time.monotonic() - began) < 60 * minutes:
                progress.update(round(passed) - progress.n)
                with FAULTS[luck.choice(ENDURED)](scene):
                    scene.users(*(luck.randrange(11) for _ in range(3 * policies)))
                    yield from watched(scene, pid, luck.uniform(5, 15))
                yield from watched(scene, pid, luck.uniform(5, 15))


def add_another(scene: Scene, name: str) -> None:
    """Add a Deployment of two pods and its policy."""
    body = deployment(name, 2)
    scene.plane.apps.create_namespaced_deployment(scene.world.namespace, body)
    text = scene.world.policy_file.read_text().replace("bokeh-app", name)
    path = scene.world.policy_file.with_name(f"{name}.yaml")
    path.write_text(text.replace("name: dashboards", f"name: {name}"))


def watched(scene: Scene, pid: int, seconds: float) -> Iterator[Held]:
    """Yield once a second what the daemon holds; not while it is too busy to serve its page."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        with suppress(TimeoutError), urllib.request.urlopen(f"{scene.url}/metrics", timeout=5) as r:
            yield held_by(pid, r.read())


def logging_to(path: Path) -> ExitStack:
    """Write what the daemon logs to a file, for the length of the block."""
    log, stack = logging.getLogger("autoscaler"), ExitStack()
    handler = logging.FileHandler(path)
    log.addHandler(handler)
    log.propagate = False
    stack.callback(handler.close)
    stack.callback(log.removeHandler, handler)
    return stack


def tell(periods: Sequence[Held], allowed: Held) -> int:
    """Print a table and what grew; return the exit code."""
    print(f"{'time':<8}{'MB':>10}{'threads':>10}{'files':>10}{'series':>10}")
    for number, each in enumerate(periods):
        until = f"{100 * (number + 1) // PERIODS} %"
        print(f"{until:<8}" + "".join(f"{value:>10.4g}" for value in each))
    problems = grown(periods, allowed)
    print("\n".join(problems) or "nothing grew")
    return int(bool(problems))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--real", action="store_true", help="run a real daemon in real time")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--policies", type=int, help="how many (default: 50; with --real: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default: 1)")
    options = parser.parse_args(words)
    policies = options.policies or (10 if options.real else 50)
    live = real if options.real else virtual
    with tempfile.TemporaryDirectory() as folder:
        samples = [*live(options.minutes, policies, options.seed, Path(folder))]
    print(f"{options.minutes:g} minutes with {policies} policies, {len(samples)} looks")
    allowed = REAL if options.real else VIRTUAL
    return tell(fifths(samples), allowed._replace(series=allowed.series * policies))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
