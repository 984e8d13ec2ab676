"""Which pods show which notice now, as the policy says.

Asking a user ends nothing by itself. Pages are closed on draining pods, if their app allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from autoscaler.core.drain.pods import ACTIVE_WITHIN, is_draining
from autoscaler.core.now import Now
from autoscaler.core.schedule import effective
from autoscaler.model import PodState
from autoscaler.policy import Policy
from exporter.agent.notice import LASTS_SECONDS

# Seconds between two rounds of questions.
ROUND = 30.0
# A question is withdrawn from the pages if it is not given in so many rounds, which are as rare as
# the decisions of the policy.
MISSED = 3
# On a pod whose deadline has passed, users are asked again before they count as gone.
UNUSED_FOR = ACTIVE_WITHIN - 2 * ROUND
# For so long a sticky proxy leads a page that is loaded again to the pod that it came from.
LED_BACK = 300.0


class Due(NamedTuple):
    """A notice for some pods.

    ends: when that comes which is announced, in Unix seconds; each pod is given it once for each
    such time. None: a question, which is given in every round.
    """

    pods: tuple[PodState, ...]
    notice: Mapping[str, object]
    ends: float | None = None


def due(policy: Policy, pods: Iterable[PodState], at: float) -> Iterator[Due]:
    """Yield the notices of a policy at a time (Unix seconds)."""
    now = Now(at)
    policy = effective(policy, now).policy
    running = [pod for pod in pods if pod.phase == "Running" and pod.ip]
    texts, drain = policy.notices, policy.drain
    if policy.idle is not None and running:
        yield Due(
            tuple(running), _question(policy, texts.idle, policy.idle.notice, policy.idle.after)
        )
    if drain is not None and (allowed := _may_close(running)):
        yield Due(allowed, _closing(policy))
    if drain is None or not drain.notice:
        return
    overdue = _before(running, drain.deadline, drain.notice, now)
    if overdue:
        yield Due(overdue, _question(policy, texts.deadline, drain.notice, UNUSED_FOR))
    for pod in _before(running, drain.hard_deadline, drain.notice, now):
        ends = (drain.hard_deadline or 0.0) + (pod.cordon.at if pod.cordon else at)
        left = max(0.0, ends - at)
        notice = {"kind": "tell", "text": texts.hard_deadline, "seconds": left}
        yield Due((pod,), notice, ends)


def _question(policy: Policy, text: str, seconds: float, idle_for: float) -> dict[str, object]:
    texts = policy.notices
    own = {"button": texts.stay, "closed": texts.closed, "reload": texts.reload}
    lasts = MISSED * policy.interval
    more = {"lasts": lasts} if lasts > LASTS_SECONDS else {}
    return {"kind": "ask", "text": text, "seconds": seconds, "idle_for": idle_for, **own, **more}


def _may_close(pods: Iterable[PodState]) -> tuple[PodState, ...]:
    """Return the draining pods that have said that they have pages which may be closed."""
    draining = (pod for pod in pods if is_draining(pod))
    return tuple(pod for pod in draining if pod.occupancy and pod.occupancy.may_close)


def _closing(policy: Policy) -> dict[str, object]:
    texts = policy.notices
    own = {"reload": texts.reload, "older_than": LED_BACK}
    return {"kind": "close", "text": texts.drained, "seconds": 0.0, **own}


def _before(
    pods: Iterable[PodState], deadline: float | None, notice: float, now: Now
) -> tuple[PodState, ...]:
    """Return the draining pods whose deadline is this near, or has passed.

    Rounds are as far apart as ROUND, so one begins earlier: all users have the whole notice.
    """
    if deadline is None:
        return ()
    draining = (pod for pod in pods if pod.cordon is not None and is_draining(pod))
    return tuple(pod for pod in draining if _cordoned_for(pod, now) >= deadline - notice - ROUND)


def _cordoned_for(pod: PodState, now: Now) -> float:
    return 0.0 if pod.cordon is None else now.at - pod.cordon.at
