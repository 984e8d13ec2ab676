"""PID 1 of a Bokeh container: starts the server with the agent in it, drains it, exits as it did.

Stock Bokeh ends every session within 0.2 s of a SIGTERM, and with `--num-procs` it ignores the
signal as PID 1 and leaves orphans behind otherwise. Here the server hears nothing until its users
have left; then every worker is told, and what does not go is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from exporter import collect
from exporter.agent import answer
from exporter.durations import text
from exporter.estimate import port_use
from exporter.ledger import Collected, Ledger

BOOTSTRAP = Path(__file__).resolve().parent / "agent" / "bootstrap"
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
PASSED_ON = {signal.SIGUSR1, signal.SIGUSR2}
WAITED_FOR = STOP_SIGNALS | PASSED_ON | {signal.SIGCHLD}
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # a child must start with them as the default

POLL_SECONDS = 0.5
STOP_POLL_SECONDS = 0.1
KILL_SECONDS = 10.0  # from the stop signal to SIGKILL; a worker in a 4 s callback still ends itself
PARENT_SECONDS = 2.0  # how long the forking parent may outlive its last worker


@dataclass(slots=True)
class Launcher:
    """One launch, from the child's start to its end. Times are of the monotonic clock.

    beside: runs in a thread of its own until then.
    """

    command: list[str]
    instance: str
    drain_seconds: float
    app_port: int
    beside: Callable[[], None] | None = None
    child: int = 0
    draining_until: float | None = None
    stopping_since: float | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    last_worker: float = 0.0
    told: set[str] = field(default_factory=set)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.instance)

    def run(self) -> int:
        """Start the child and stay until it has ended; its exit code, 128+N for signal N.

        Raises OSError if the command cannot be started.
        """
        os.environ.update(environment(self.instance, os.environ.get("PYTHONPATH", "")))
        signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
        self.child = os.posix_spawnp(
            self.command[0],
            self.command,
            os.environ,
            setpgroup=0,
            setsigmask=(),
            setsigdef=IGNORED_BY_PYTHON,
        )
        self._announce()
        if self.beside is not None:
            threading.Thread(target=self.beside, daemon=True).start()
        while (code := self._ended()) is None:
            came = signal.sigtimedwait(WAITED_FOR, self._patience())
            if came is not None:
                self._heed(signal.Signals(came.si_signo))
            self._step(time.monotonic())
        end_group(self.child)
        return code

    def _patience(self) -> float:
        return POLL_SECONDS if self.stopping_since is None else STOP_POLL_SECONDS

    def _announce(self) -> None:
        """Tell the sidecar, on a socket like the workers', whether a drain is going on."""
        listener = answer.listen(collect.LAUNCHER)

        def run() -> NoReturn:
            while True:
                answer.answer_one(listener, lambda: {"draining": self.draining_until is not None})

        threading.Thread(target=run, daemon=True).start()

    def _ended(self) -> int | None:
        """The child's exit code, 128+N for signal N, once it has ended."""
        status = reap().get(self.child)
        if status is None:
            return None
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _heed(self, came: signal.Signals) -> None:
        """SIGTERM drains, a second one stops; the signals of a terminal stop at once."""
        if came in PASSED_ON:
            os.kill(self.child, came)
        elif came not in STOP_SIGNALS:
            return
        elif self.stopping_since is not None:
            say(f"{came.name} again: killing what is left")
            signal_group(self.child, signal.SIGKILL)
        elif came == signal.SIGTERM and self.draining_until is None and self.drain_seconds:
            self.draining_until = time.monotonic() + self.drain_seconds
            if not self._is_empty():
                longest = text(self.drain_seconds)
                say(f"SIGTERM: serving on until every user has left, {longest} at most")
        else:
            self._stop(signal.SIGINT if came == signal.SIGINT else signal.SIGTERM)

    def _step(self, now: float) -> None:
        if self.stopping_since is not None:
            self._insist(now)
        elif self.draining_until is None:
            return
        elif self._is_empty():
            self._stop(signal.SIGTERM)
        elif now >= self.draining_until:
            say("the drain deadline has passed; stopping with users still connected")
            self._stop(signal.SIGTERM)

    def _is_empty(self) -> bool:
        """Nobody is connected or about to be. Without an agent, the port's connections decide."""
        seen = self.ledger.collect()
        return is_empty(seen) if seen.workers else port_use(self.app_port).established == 0

    def _stop(self, with_signal: signal.Signals) -> None:
        self.stop_signal, self.stopping_since = with_signal, time.monotonic()
        self._insist(self.stopping_since)

    def _insist(self, now: float) -> None:
        """Signal the workers, not their parent: it ends with their code when they have ended.

        A worker that died by the signal, because it was still starting, is forked anew by that
        parent; so whoever appears is told too. Without known workers everybody is told.
        """
        targets = {worker.text: worker.pid for worker in self._workers()}
        if targets:
            self.last_worker = now
        elif now - self.last_worker > PARENT_SECONDS:
            targets = {"everybody": -self.child}  # a negative pid is a process group
        if now - (self.stopping_since or now) > KILL_SECONDS:
            signal_group(self.child, signal.SIGKILL)
        for name, pid in targets.items():
            if name not in self.told:
                self.told.add(name)
                with suppress(ProcessLookupError):
                    os.kill(pid, self.stop_signal)

    def _workers(self) -> list[collect.Name]:
        """The live workers of our own child; another launcher may share the instance's name."""
        found = (n for n in collect.find(self.instance) if n.slot != collect.LAUNCHER)
        return [name for name in found if _group_of(name.pid) == self.child]


def environment(instance: str, python_path: str) -> dict[str, str]:
    """What makes every Python below find the agent, in front of the user's own PYTHONPATH."""
    paths = [str(BOOTSTRAP), *filter(None, [python_path])]
    return {"PYTHONPATH": os.pathsep.join(paths), "BOKEH_EXPORTER_INSTANCE": instance}


def is_empty(seen: Collected) -> bool:
    """Whether no worker has a live connection, a session being created or a page still loading.

    A worker that never answered may hold anybody, so it counts as full until the deadline.
    """
    reports = [worker.report for worker in seen.workers]
    return all(
        report is not None
        and not any(app.live or app.pending or app.opening for app in report.apps.values())
        for report in reports
    )


def signal_group(group: int, number: int) -> bool:
    """Signal a process group, 0 only asks; False if it has no members any more."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def end_group(group: int) -> None:
    """End what the child left behind: orphaned workers, helpers of the application."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        present = signal_group(group, number)
        until = time.monotonic() + PARENT_SECONDS
        while present and time.monotonic() < until:
            time.sleep(0.02)
            reap()
            present = signal_group(group, 0)


def reap() -> dict[int, int]:
    """Every child that has ended, and its wait status: ours and the orphans that PID 1 inherits."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:
            ended[found[0]] = found[1]
    return ended


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def say(message: str) -> None:
    """One line for the container's log."""
    sys.stderr.write(f"bokeh-exporter: {message}\n")
    sys.stderr.flush()
