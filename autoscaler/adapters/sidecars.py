"""Asks the exporters in the pods themselves: `/state`, each with a short deadline, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from autoscaler.model import Occupancy, PodState

CONNECT_WITHIN, ANSWER_WITHIN = 0.5, 1.5  # seconds; an idle sidecar needs 0.01
AT_ONCE = 16


class HttpSidecars:
    """Implements `ports.Sidecars`. port: of every sidecar."""

    def __init__(self, port: int = 9550) -> None:
        self._port = port

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
        """The pods that answered, by uid."""
        asked = [pod for pod in pods if pod.ip]
        if not asked:
            return {}
        with ThreadPoolExecutor(min(AT_ONCE, len(asked))) as pool:
            answers = pool.map(self._ask, asked)
            found = zip(asked, answers, strict=True)
            return {pod.uid: seen for pod, seen in found if seen is not None}

    def _ask(self, pod: PodState) -> Occupancy | None:
        address = f"[{pod.ip}]" if ":" in (pod.ip or "") else pod.ip
        try:
            with requests.Session() as session:
                session.trust_env = False  # a pod is never behind a proxy
                answer = session.get(
                    f"http://{address}:{self._port}/state",
                    timeout=(CONNECT_WITHIN, ANSWER_WITHIN),
                    allow_redirects=False,
                )
                answer.raise_for_status()
                state = answer.json()
                if pod.ready and not state["ready"]:  # it looks at another port, or sees no worker
                    return None
                return occupancy(state)
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
            return None


def occupancy(state: Mapping[str, Any]) -> Occupancy | None:
    """The exporter's `/state` as our value; None while a worker does not answer it.

    Raises KeyError, TypeError or ValueError if it is something else.
    """
    if not all(worker["ok"] for worker in state["workers"]):
        return None
    sessions = state["sessions"]
    return Occupancy(
        live=int(state["connections"]["live"]),
        opening=int(sessions["pending"]) + int(sessions["opening"]),
        blocked=int(sessions["blocked"]),
        quiet_for=state["last_disconnect_age_s"],
        idle_for=state["last_activity_age_s"],
    )
