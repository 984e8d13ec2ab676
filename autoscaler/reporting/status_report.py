"""The daemon's `/status` page: its shape, which the daemon writes and `autoscaler status` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autoscaler.errors import AutoscalerError
from autoscaler.reporting.policy_changes import in_one_line
from exporter.texts import LONGEST_LINE


@dataclass(frozen=True, slots=True)
class Replicas:
    """Replicas of a target. wanted: the most that one metric asks for; None: none has data."""

    current: int
    desired: int
    wanted: int | None
    ready: int
    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Seats:
    """Seats of the pods that get new sessions, and of the reserve.

    free: how many of them are known to be free. spare: how many the policy keeps free; None where
    it is not known.
    """

    capacity: int
    free: int
    spare: int | None


@dataclass(frozen=True, slots=True)
class Pods:
    """Active pods, each counted once.

    waiting: sessions on the draining pods. leaving: those on pods that are being deleted, as after
    a rollout, and still tell them.
    """

    open: int
    reserve: int
    full: int
    draining: int
    starting: int
    waiting: int
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What a daemon knows of one policy. Ages are in seconds, by the daemon's steady clock.

    leader: whether it leads in the namespace; if not, only `problem` says more. reason, detail: the
    last word of the decision, or of the problem that prevented one. problem: why the last pass
    could not read the target or carry out its decision; "" if nothing did. held_for: for how long
    the reason has been the same, as far as this daemon knows. age: of the last pass. sessions: with
    a connection, on all pods that have told, also those that are being deleted; without_data: pods
    that should tell and do not. paused: who paused it and why. not_created: why
    Kubernetes creates no further pod; "" if it does. decision: as `autoscaler decide
    --json` prints it. settings: of the policy, as its file has them, but the first guess of learned
    seats is how many a pod has now. learned: that number, and by what, in words; None: they are not
    learned.
    """

    policy: str
    namespace: str
    deployment: str
    leader: bool
    reason: str
    detail: str
    problem: str = ""
    held_for: float | None = None
    age: float | None = None
    interval: float | None = None
    paused: str | None = None
    sessions: int | None = None
    without_data: int = 0
    replicas: Replicas | None = None
    seats: Seats | None = None
    pods: Pods | None = None
    not_created: str = ""
    decision: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    learned: str | None = None

    @property
    def target(self) -> str:
        """The Deployment as kubectl names it with its namespace."""
        return f"{self.namespace}/{self.deployment}"

    def notes(self) -> Iterator[str]:
        """Yield what is wrong with the policy and with its target."""
        if self.problem:
            yield self.problem
        if self.not_created:
            yield f"Kubernetes creates no further pod: {self.not_created}"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The page.

    rejected: what is wrong with policy files, by file name. empty: directories without any.
    """

    policies: tuple[PolicyStatus, ...] = ()
    rejected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: tuple[str, ...] = ()

    def file_notes(self) -> Iterator[str]:
        """Yield what is wrong with each policy file and directory."""
        for file, found in self.rejected.items():
            why = in_one_line(file, found, LONGEST_LINE)
            yield f"{file} is rejected, and its last valid version, if any, stays active: {why}"
        for directory in self.empty:
            yield f"{directory} has no policy file"


_REPORT = TypeAdapter(StatusReport)


def to_json(report: StatusReport) -> bytes:
    """Return the page."""
    return _REPORT.dump_json(report)


def to_plain(report: StatusReport) -> Any:
    """Return the page as plain dicts and lists."""
    return _REPORT.dump_python(report, mode="json")


def from_plain(page: object, where: str) -> StatusReport:
    """Return what the parsed page of a daemon says; keys of a newer daemon are ignored.

    where: the daemon in words. Raises AutoscalerError.
    """
    try:
        return _REPORT.validate_python(page)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the page"
        raise AutoscalerError(
            f"{where} does not answer as a daemon of this version: {place}: {first['msg']}; "
            "update the older one of the two"
        ) from None


def merged(reports: list[StatusReport]) -> StatusReport:
    """Return one report of several daemons: of each policy what its leader says, else the newest.

    The policies are sorted by their targets.
    """
    best: dict[tuple[str, str], PolicyStatus] = {}
    for each in (policy for report in reports for policy in report.policies):
        key = (each.target, each.policy)
        last = best.get(key)
        if last is None or _rank(each) < _rank(last):
            best[key] = each
    rejected = {file: found for report in reports for file, found in report.rejected.items()}
    empty = sorted({directory for report in reports for directory in report.empty})
    return StatusReport(tuple(best[key] for key in sorted(best)), rejected, tuple(empty))


def _rank(status: PolicyStatus) -> tuple[bool, float]:
    return not status.leader, float("inf") if status.age is None else status.age
