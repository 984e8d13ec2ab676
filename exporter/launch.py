"""PID 1 of a Bokeh container: start the server with the agent, drain it, return its exit code.

Stock Bokeh ends every session within 0.2 s of a SIGTERM. With `--num-procs` it ignores the signal
if it is PID 1, and leaves orphaned workers behind if it is not. The launcher therefore keeps the
signal from the server until its sessions have ended. Then it signals every worker, and kills those
that do not exit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from exporter.agent import answer, pod
from exporter.agent.thread_errors import ThreadErrors
from exporter.child_processes import ProcessTree, ports_of, sockets_below
from exporter.console import say
from exporter.durations import duration_text
from exporter.observe import PodObserver, PodView
from exporter.wire import LauncherReport, termination_message

BOOTSTRAP = Path(__file__).resolve().parent / "agent" / "bootstrap"
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
PASSED_ON = {signal.SIGUSR1, signal.SIGUSR2}
WAITED_FOR = STOP_SIGNALS | PASSED_ON | {signal.SIGCHLD}
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # a child must start with their defaults

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0  # while not draining, so the sessions of a worker that crashes are known
STOP_POLL_SECONDS = 0.1
JUST_NOW_SECONDS = 0.1
# From the stop signal to SIGKILL. Bokeh ends sessions whose users have left one after the other,
# each with the application's own code, and may be busy with a callback before that.
KILL_SECONDS = 30.0
PARENT_SECONDS = 2.0  # for which the forking parent may outlive its last worker
UNKNOWN_PORT = (
    "the sessions are unknown, because the server runs as another user and has no agent; "
    "name the port of the app with --app-port"
)


@dataclass(slots=True)
class Launcher:
    """One launch, from the start of the child to its exit. Times are of the monotonic clock.

    beside: starts what runs in other threads until then, such as the sidecar's pages.
    """

    command: list[str]
    instance: str
    drain_seconds: float
    reconnect_seconds: float
    observer: PodObserver
    family: ProcessTree
    beside: Callable[[], None] | None = None
    child: int = 0
    asked_by: signal.Signals | None = None
    draining_until: float | None = None
    stopping_since: float | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    last_worker: float = 0.0
    looked: float = 0.0
    sockets: frozenset[int] | None = None
    sockets_at: float = -inf
    ports: tuple[int, ...] | None = None
    seen: PodView | None = None
    told: set[str] = field(default_factory=set)
    told_all: bool = False
    killed: bool = False
    reported: bool = False
    blind: bool = False
    complaints: ThreadErrors = field(default_factory=lambda: ThreadErrors("the launcher"))

    def run(self) -> int:
        """Start the child, wait for its exit, and return its exit code (128+N for signal N).

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
        self.family.group = self.child
        answer.start(pod.LAUNCHER, self._own_report)
        if self.beside is not None:
            self.beside()
        while (code := self._ended()) is None:
            came = signal.sigtimedwait(WAITED_FOR, self._timeout())
            try:
                if came is not None:
                    self._handle_signal(signal.Signals(came.si_signo))
                self._step(time.monotonic())
            except Exception as error:  # if PID 1 exited, every process would be killed
                self.complaints.tell(error)
        end_group(self.child)
        self._report_cut()
        return self._exit_code(code)

    def _timeout(self) -> float:
        return POLL_SECONDS if self.stopping_since is None else STOP_POLL_SECONDS

    def _own_report(self) -> dict[str, Any]:
        """Return what the sidecar reads from the launcher's socket."""
        # An observation of the launcher's own has just read them, and asks this socket too.
        if time.monotonic() - self.sockets_at >= JUST_NOW_SECONDS:
            with suppress(OSError):  # for example without a free file descriptor
                self._read_sockets()
        sockets = None if self.sockets is None else tuple(self.sockets)
        return asdict(LauncherReport(self.draining_until is not None, self.ports, sockets))

    def _read_sockets(self) -> None:
        """Read the sockets of the descendants, for which all processes are looked at."""
        self.sockets = sockets_below(os.getpid(), self.child)
        self.sockets_at = time.monotonic()

    def _ended(self) -> int | None:
        """Return the child's exit code (128+N for signal N), or None while it runs."""
        status = reap().get(self.child)
        if status is None:
            return None
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _handle_signal(self, came: signal.Signals) -> None:
        """Handle one signal.

        The first SIGTERM drains, the next one stops, and a third one kills. SIGINT, SIGHUP and
        SIGQUIT stop at once if there is a terminal. Without one they drain, because then no user
        can have typed them and they are the image's stop signal. SIGHUP is ignored under `nohup`.
        """
        if came == signal.SIGHUP and signal.getsignal(came) == signal.SIG_IGN:
            return
        if came in PASSED_ON:
            os.kill(self.child, came)
        elif came not in STOP_SIGNALS:
            return
        elif self.stopping_since is not None:
            say(f"received {came.name} again; killing the remaining processes")
            self._kill()
        elif self.drain_seconds and self.draining_until is None and drains(came):
            self.draining_until = time.monotonic() + self.drain_seconds
            self.asked_by = came
        else:
            self._observe()
            self._stop(signal.SIGINT if came == signal.SIGINT else signal.SIGTERM)

    def _step(self, now: float) -> None:
        if self.stopping_since is not None:
            self._signal_workers(now)
        elif self.draining_until is None:
            if now - self.looked >= LOOK_SECONDS:
                self._observe()
        elif (seen := self._observe()) is None:
            self._wait_for("the number of sessions is unknown", now)
        elif self._may_stop(seen):
            self._stop(signal.SIGTERM)
        else:
            self._wait_for(", ".join(seen.held_by) or self._whom_it_may_have(seen), now)

    def _wait_for(self, whom: str, now: float) -> None:
        """Report once what the drain waits for, and stop when the drain deadline has passed."""
        if self.asked_by is not None:
            longest = duration_text(self.drain_seconds)
            say(f"received {self.asked_by.name}; draining for at most {longest} ({whom})")
            self.asked_by = None
        if now >= (self.draining_until or now):
            say(f"drain deadline exceeded; stopping the server ({whom})")
            self._stop(signal.SIGTERM)

    def _observe(self) -> PodView | None:
        """Observe the workers, and tell all of them, including new ones, whether to drain.

        Returns None if that is impossible now, for example without a free file descriptor.
        """
        self.looked = time.monotonic()
        try:
            self._read_sockets()
            self.ports = ports_of(self.sockets)
            self.seen = self.observer.observe(drain=self.draining_until is not None)
        except Exception as error:  # if PID 1 exited, every process would be killed
            if not self.blind:
                why = getattr(error, "strerror", None) or repr(error)
                say(f"cannot ask the workers for their sessions; assuming they have some: {why}")
            self.blind = True
            return None
        self.blind = False
        return self.seen

    def _may_stop(self, seen: PodView) -> bool:
        """Return whether no session is left and no client can still reconnect.

        A server of which too little is known to say so may have sessions.
        """
        if seen.held_by:
            return False
        gone_for = seen.empty_for_s  # None if no server is seen
        if gone_for is None:
            return self.ports == () or (self.ports is not None and seen.never_used)
        return seen.never_used or gone_for >= self.reconnect_seconds

    def _whom_it_may_have(self, seen: PodView) -> str:
        if seen.empty_for_s is not None:
            return "users may still reconnect"
        return UNKNOWN_PORT if self.ports is None else "no event loop runs in the server"

    def _stop(self, with_signal: signal.Signals) -> None:
        self.stop_signal, self.stopping_since = with_signal, time.monotonic()
        self._report_cut()  # now, because a SIGKILL would leave no time for it later
        self._signal_workers(self.stopping_since)

    def _report_cut(self) -> None:
        """Report how many sessions had a live connection when their workers were told to stop.

        If the server exits by itself, the last observation counts.
        """
        apps = self.seen.apps.values() if self.seen is not None else ()
        if not self.reported:
            self.reported = True
            report_termination(sum(app.connected for app in apps))

    def _signal_workers(self, now: float) -> None:
        """Signal the workers rather than the parent: the parent exits with their code after them.

        A worker that dies of the signal because it is still starting is forked again by the
        parent, so new workers are signaled too. If no worker is known, the whole process group is
        signaled.
        """
        targets = self._workers()
        if targets:
            self.last_worker = now
        elif now - self.last_worker > PARENT_SECONDS and not self.told_all:
            self.told_all = True
            signal_group(self.child, self.stop_signal)
        if now - (self.stopping_since or now) > KILL_SECONDS:
            self._kill()
        for name, pid in targets.items():
            if name not in self.told:
                self.told.add(name)
                with suppress(ProcessLookupError):
                    os.kill(pid, self.stop_signal)

    def _kill(self) -> None:
        """Kill the process group, and remember whether workers were alive for the exit code."""
        self.killed = self.killed or bool(self._workers())
        signal_group(self.child, signal.SIGKILL)

    def _exit_code(self, code: int) -> int:
        """Return 0 if the workers exited when told to, even if their parent then failed."""
        by_us = code - 128 in (self.stop_signal, signal.SIGKILL) and self.stopping_since is not None
        return 0 if self.told and by_us and not self.killed else code

    def _workers(self) -> dict[str, int]:
        """Return the process ID of each live worker, by name.

        Returns none if that cannot be read now, for example without a free file descriptor.
        """
        peers = self.observer.peers
        try:
            names = [name for name in peers.present() if name.slot != pod.LAUNCHER]
        except OSError:
            return {}
        return {name.text: peers.pids[name] for name in names}


def environment(instance: str, python_path: str) -> dict[str, str]:
    """Return the environment in which every Python loads the agent before the user's modules.

    python_path: the user's own PYTHONPATH, which is kept behind ours.
    """
    paths = [str(BOOTSTRAP), *filter(None, [python_path])]
    return {"PYTHONPATH": os.pathsep.join(paths), "BOKEH_EXPORTER_INSTANCE": instance}


def report_termination(cut: int) -> None:
    """Add the number of sessions that were cut to the container's termination message, if any."""
    path = Path(os.environ.get("BOKEH_EXPORTER_TERMINATION_LOG", "/dev/termination-log"))
    if not path.exists():
        return
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(termination_message(cut))
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}")


def drains(came: signal.Signals) -> bool:
    """Return whether a first signal starts a drain instead of stopping at once."""
    return came == signal.SIGTERM or not has_terminal()


def has_terminal() -> bool:
    """Return whether a user can type Ctrl-C: stdin is a terminal, or the session has one."""
    if os.isatty(0):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def signal_group(group: int, number: int) -> bool:
    """Signal a process group, and return whether it has any members.

    number: 0 sends no signal and only tests for members.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def end_group(group: int) -> None:
    """End the processes that the child left behind: orphaned workers, helpers of the app."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        present = signal_group(group, number)
        until = time.monotonic() + PARENT_SECONDS
        while present and time.monotonic() < until:
            time.sleep(0.02)
            reap()
            present = signal_group(group, 0)


def reap() -> dict[int, int]:
    """Return the wait status of every child that has ended, by process ID.

    As PID 1 the launcher inherits orphans, which must be reaped as well.
    """
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:
            ended[found[0]] = found[1]
    return ended
