"""The users of one app: a random script of visits, and where each of them is at a time.

Times are seconds of the script; it begins with 12 pods at 0. Pure: who is where follows from the
script, from what became of the pods, and from a random generator.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass, replace
from random import Random

FROM, TO = 12, 3  # pods
SEATS = 10
ENDS = 300.0  # the last arrival; whoever came before stays for 40 s on average
STAY = 40.0
# A user may still be sent to a pod so long after it was cordoned (proxies learn of it late) ...
ROUTED_LATE = 10.0
OPENS_FOR = (1.0, 8.0)  # ... and then its page loads before the WebSocket opens
BREAKS = 0.2  # this share of the visits lose the connection once, and come back
BROKEN_FOR = (5.0, 25.0)


@dataclass(frozen=True, order=True)
class Visit:
    """One session: arrives, opens its WebSocket, maybe loses it for a while, leaves."""

    leaves: float
    arrives: float
    opens: float
    breaks: float
    mends: float

    def is_live(self, now: float) -> bool:
        """Whether its connection is there."""
        return self.opens <= now < self.leaves and not self.breaks <= now < self.mends


def script(seed: int) -> list[Visit]:
    """Some 80 users at first; after ups and downs the load comes to rest where 3 pods do."""
    random = Random(seed)
    full, rest = random.uniform(60, 100), random.uniform(2, 15)
    levels = [full, random.uniform(30, 105), random.uniform(20, 105), random.uniform(10, 70)]
    levels += [rest, rest]
    knots = [0.0, 55.0, 110.0, 165.0, 220.0, ENDS]
    visits = [_visit(random, 0.0) for _ in range(int(full))]
    at = 0.0
    while (at := at + random.expovariate(max(levels) / STAY)) < ENDS:
        if random.random() < _between(knots, levels, at) / max(levels):
            visits.append(_visit(random, at))
    return sorted(visits, key=lambda visit: visit.arrives)


def _between(knots: list[float], levels: list[float], at: float) -> float:
    after = min(bisect_right(knots, at), len(knots) - 1)
    share = (at - knots[after - 1]) / (knots[after] - knots[after - 1])
    return levels[after - 1] + share * (levels[after] - levels[after - 1])


def _visit(random: Random, at: float) -> Visit:
    opens = at + random.uniform(*OPENS_FOR)
    leaves = opens + random.expovariate(1 / STAY)
    breaks = random.uniform(opens, leaves) if random.random() < BREAKS else leaves
    return Visit(leaves, at, opens, breaks, breaks + random.uniform(*BROKEN_FOR))


class Users:
    """The visits of one app while its pods come and go; a Service sends each to a random pod.

    cut: sessions that were there when their pod ended. Such a user comes back at once elsewhere.
    """

    def __init__(self, visits: list[Visit], random: Random) -> None:
        self.total = len(visits)
        self.cut = 0
        self._random = random
        self._coming = deque(visits)
        self._present: list[tuple[Visit, str]] = []  # a heap: who leaves first is first
        self._open_pods: deque[tuple[float, tuple[str, ...]]] = deque()
        self._pods: set[str] = set()
        self._left: dict[str, float] = {}

    def open_pods(self, pods: list[str], now: float) -> None:
        """From now on new users are to be sent to these pods, once proxies know."""
        self._pods.update(pods)
        if self._open_pods and self._open_pods[-1][0] == now:
            self._open_pods.pop()
        self._open_pods.append((now, tuple(pods)))

    def pod_ended(self, pod: str, now: float) -> int:
        """How many sessions ended with it."""
        self._pods.discard(pod)
        self.advance(now)
        lost = [visit for visit, where in self._present if where == pod]
        self._present = [each for each in self._present if each[1] != pod]
        heapq.heapify(self._present)
        self.cut += len(lost)
        for visit in lost:
            self._coming.appendleft(replace(visit, arrives=now, opens=now, breaks=visit.leaves))
        return len(lost)

    def advance(self, now: float) -> None:
        """Those come whose time it is, and those leave."""
        while self._coming and self._coming[0].arrives <= now:
            pod = self._route(self._coming[0].arrives) or self._route(now)
            if pod is None:  # nobody serves: they try again
                break
            heapq.heappush(self._present, (self._coming.popleft(), pod))
        while self._present and self._present[0][0].leaves <= now:
            visit, pod = heapq.heappop(self._present)
            self._left[pod] = max(visit.leaves, self._left.get(pod, 0.0))

    def _route(self, at: float) -> str | None:
        """Where a proxy sends somebody at that time; None: nowhere now."""
        while len(self._open_pods) > 1 and self._open_pods[1][0] <= at - ROUTED_LATE:
            self._open_pods.popleft()
        pods = [pod for pod in self._open_pods[0][1] if pod in self._pods]
        return self._random.choice(pods) if pods else None

    def live(self, now: float) -> Counter[str]:
        """Connections at each pod that has any."""
        return Counter(where for visit, where in self._present if visit.is_live(now))

    def at(self, pod: str) -> int:
        """Sessions at this pod that a removal would end, whether connected, loading or broken."""
        return sum(where == pod for _, where in self._present)

    def state(self, pod: str, now: float) -> tuple[int, int, float | None]:
        """What its sidecar says: live connections, pages that load, seconds since one ended."""
        here = [visit for visit, where in self._present if where == pod]
        ended = [visit.breaks for visit in here if visit.breaks <= now]
        ended += [self._left[pod]] if pod in self._left else []
        opening = sum(visit.opens > now for visit in here)
        return self.live(now)[pod], opening, now - max(ended) if ended else None
