"""The lines of a journal: each decision with everything that `decide` read of the world. Pure.

{"v": 1, "by": WRITER, "name": POLICY, "n": NUMBER, "at": TIME, "policy": {...}, "observed": {...},
"before": {...}, "decision": {...}, "changed": true, "marked": PODS, "problem": WORDS}, times in
Unix seconds. Defaults are left out, and so is what the line before of the same writer and policy
has: the policy, the decision, what is the same of a pod (which is then its index there, or [INDEX,
{...}] with what has changed), and `before` where it is the state that `decide` returned there. A
line with the number 0 has all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from autoscaler.model import Decision, DrainPlan, Observation, PodState, State
from autoscaler.policy import Policy

VERSION = 1
# After so many lines of a policy one has everything, so that a part of a file can be read.
LONGEST_CHAIN = 300

_POD = TypeAdapter(PodState)
_OBSERVATION = TypeAdapter(Observation)
_DECISION = TypeAdapter(Decision)
_FIELDS = [each.name for each in fields(PodState) if each.compare]

Time = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision as it was made, what it was made of, and what was written because of it.

    writer: a name that no other process has. before: what was remembered; None if it is the state
    that `decide` returned for the entry before of the same writer and policy. changed: the scale
    was patched. marked: how many pods had their labels or annotations written. problem: why less
    was written than was decided; "" if nothing prevented it.
    """

    writer: str
    at: float
    policy: Policy
    observed: Observation
    before: State | None
    decision: Decision
    changed: bool = False
    marked: int = 0
    problem: str = ""


def lasting(decision: Decision) -> Decision:
    """The decision as a journal has it: without how long it holds, which only simulations ask."""
    return decision._replace(holds_until=0.0)


class LineError(ValueError):
    """A line that cannot be read; the message follows its place."""


class OrphanError(LineError):
    """A line that leaves out what a line before had, which is missing."""


class _Last(NamedTuple):
    """What the last line of a policy said. after: the state that `decide` returned, if known."""

    number: int
    policy: Policy
    pods: Sequence[PodState]
    decision: Decision
    uid: str
    after: State | None = None


class Encoder:
    """Makes the lines of one file."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def forget(self) -> None:
        """Begin anew: at the beginning of a file, and after lines that were not written."""
        self._last.clear()

    def line(self, entry: Entry, after: State) -> str:
        """Return an entry as a line of JSON without its end. after: what `decide` returned."""
        name, observed, decision = entry.policy.name, entry.observed, entry.decision
        last = self._last.get(name)
        if last is not None and (last.number >= LONGEST_CHAIN or last.uid != observed.uid):
            last = None
        number = 0 if last is None else last.number + 1
        said: dict[str, Any] = {"v": VERSION, "by": entry.writer, "name": name, "n": number}
        said["at"] = entry.at
        if last is None or last.policy != entry.policy:
            said["policy"] = entry.policy.model_dump(mode="json", by_alias=True)
        said["observed"] = _observed(observed, last.pods if last else ())
        if last is None or last.after != entry.before:
            said["before"] = _named(entry.before or State())
        if last is None or last.decision != decision:
            said["decision"] = _decision(decision, observed.pods)
        said |= {"changed": True} if entry.changed else {}
        said |= {"marked": entry.marked} if entry.marked else {}
        said |= {"problem": entry.problem} if entry.problem else {}
        pods, uid = observed.pods, observed.uid
        self._last[name] = _Last(number, entry.policy, pods, decision, uid, after)
        return json.dumps(said, separators=(",", ":"))


def _with_mappings(kind: type[State] | type[DrainPlan], said: Any) -> Any:
    """Add empty mappings: Pydantic cannot copy those that are defaults of a named tuple."""
    if not isinstance(said, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - as Pydantic has it
    empty = (name for name, value in kind._field_defaults.items() if isinstance(value, Mapping))
    return {**{name: {} for name in empty}, **said}


Remembered = Annotated[State, BeforeValidator(partial(_with_mappings, State))]


class _Line(BaseModel):
    """A line before its references are resolved. Unknown keys are a newer daemon's."""

    by: str
    name: str
    n: Number
    at: Time
    policy: Policy | None = None
    observed: dict[str, Any]
    before: Remembered | None = None
    decision: dict[str, Any] | None = None
    changed: bool = False
    marked: Number = 0
    problem: str = ""


class Decoder:
    """Reads the lines of one file, one after the other."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], _Last] = {}

    def entry(self, text: bytes) -> Entry:
        """Return the entry of the next line. Raises LineError."""
        try:
            return self._entry(_parsed(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))[:100]
            raise LineError(f"{where}: {first['msg']}") from None

    def _entry(self, line: _Line) -> Entry:
        last = None if line.n == 0 else self._last.get((line.by, line.name))
        if line.n > 0 and (last is None or last.number != line.n - 1):
            raise OrphanError("it leaves out what an earlier line had, which is missing")
        policy = line.policy or (last and last.policy)
        if policy is None or (last is None and (line.before is None or line.decision is None)):
            raise LineError("policy, before or decision is missing, expected all of them with n 0")
        observed = _observation(line.observed, last.pods if last else ())
        decision = last.decision if last else None
        if line.decision is not None:
            decision = _decided(line.decision, observed.pods)
        if decision is None:
            raise LineError("decision is missing")
        key, pods, uid = (line.by, line.name), observed.pods, observed.uid
        self._last[key] = _Last(line.n, policy, pods, decision, uid)
        done = (line.changed, line.marked, line.problem)
        return Entry(line.by, line.at, policy, observed, line.before, decision, *done)


def _plain(adapter: TypeAdapter[Any], value: Any, **options: Any) -> Any:
    return adapter.dump_python(value, mode="json", exclude_defaults=True, **options)


def _named(value: State | Decision | DrainPlan) -> dict[str, Any]:
    """Return the fields of a named tuple by name, without those that have their defaults."""
    told = value._asdict().items()
    defaults = value._field_defaults
    said = {name: each for name, each in told if name not in defaults or each != defaults[name]}
    return to_jsonable_python(said, fallback=dict)  # type: ignore[no-any-return]


def _observed(observed: Observation, before: Sequence[PodState]) -> dict[str, Any]:
    """Return an observation, and of each pod that was there before only what has changed."""
    said: dict[str, Any] = _plain(_OBSERVATION, replace(observed, pods=()))
    at = {pod.uid: index for index, pod in enumerate(before)}
    said["pods"] = [_pod(pod, at.get(pod.uid), before) for pod in observed.pods]
    return said


def _pod(pod: PodState, index: int | None, before: Sequence[PodState]) -> Any:
    """Return a pod: its index if it is as before, with what has changed, or all of a new one."""
    if index is None:
        return _plain(_POD, pod, exclude={"version"})  # by which nothing is decided
    if pod == before[index]:
        return index
    changed = {name for name in _FIELDS if getattr(pod, name) != getattr(before[index], name)}
    return [index, _POD.dump_python(pod, mode="json", include=changed)]


def _decision(decision: Decision, pods: Sequence[PodState]) -> dict[str, Any]:
    """Return a decision, each of its pods as its index among those observed."""
    said, plan = _named(decision), decision.drain
    if plan is None:
        return said
    at = {pod.uid: index for index, pod in enumerate(pods)}

    def short(pod: PodState, said: Any) -> Any:
        index = at.get(pod.uid)
        return said if index is None or pods[index] != pod else index

    drain = said["drain"] = _named(plan)
    for each, (pod, _) in zip(drain.get("marks", ()), plan.marks, strict=True):
        each[0] = short(pod, each[0])
    drain["remove"] = [*map(short, plan.remove, drain.get("remove", ()))]
    return said


def _parsed(text: bytes) -> _Line:
    """Return a line with what it says of itself. Raises LineError or ValidationError."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise LineError("not JSON, expected a line of a journal") from None
    if not isinstance(said, dict) or "v" not in said:
        raise LineError("not a line of a journal")
    if said["v"] != VERSION:
        known = f"expected {VERSION}; read it with the version of autoscaler that wrote it"
        raise LineError(f"the format version is {str(said['v'])[:20]}, {known}")
    return _Line.model_validate(said)


def _observation(said: dict[str, Any], before: Sequence[PodState]) -> Observation:
    return _OBSERVATION.validate_python({**said, "pods": _resolved(said.get("pods"), before)})


def _decided(said: dict[str, Any], pods: Sequence[PodState]) -> Decision:
    drain = said.get("drain")
    if drain is not None:
        if not isinstance(drain, dict):
            raise LineError("decision.drain: expected an object")
        marks, remove = drain.get("marks", []), drain.get("remove", [])
        try:
            marks = [[*_resolved([pod], pods), wanted] for pod, wanted in marks]
        except (TypeError, ValueError) as error:
            raise LineError(f"decision.drain.marks: {error}") from None
        resolved = {**drain, "marks": marks, "remove": _resolved(remove, pods)}
        said = {**said, "drain": _with_mappings(DrainPlan, resolved)}
    return _DECISION.validate_python(said)


def _resolved(said: Any, pods: Sequence[PodState]) -> list[Any]:
    """Return pods with those in place of their indexes. Raises LineError."""
    if not isinstance(said, list):
        raise LineError("expected a list of pods")
    return [_referred(each, pods) for each in said]


def _referred(said: Any, pods: Sequence[PodState]) -> Any:
    index, changed = said if isinstance(said, list) and len(said) == 2 else (said, None)
    if not isinstance(index, int):
        return said
    if not 0 <= index < len(pods):
        raise LineError(f"there is no pod {index}, expected one of {len(pods)}")
    if not isinstance(changed, dict):
        return pods[index]
    return {name: getattr(pods[index], name) for name in _FIELDS} | changed
