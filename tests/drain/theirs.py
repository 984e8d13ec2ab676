"""The same apps and users under the real HPA, which scales on average sessions.

Its controllers live in real time, so ten seconds of the script pass in one. Compressed alike: its
sync period (15 s by default, 20 s of the script here, as often as ours decides) and its window for
shrinking (30 s of the script, as ours). Nothing else differs from what it is in production.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tests.drain.fleet import NAMESPACE, App, Fleet, Toll
from tests.drain.ours import INTERVAL, WINDOW
from tests.drain.pods_seen import PodsSeen
from tests.drain.visits import ENDS, FROM, SEATS, TO
from tests.hpa.oracle import Oracle

COMPRESSED = 10
OPTIONS = {
    "horizontal_pod_autoscaler_sync_period": f"{INTERVAL / COMPRESSED:g}s",
    "concurrent_horizontal_pod_autoscaler_syncs": 20,
    "concurrent_deployment_syncs": 20,
    "concurrent_replicaset_syncs": 20,
}
PACE = 0.05  # seconds between two looks at the pods: half a second of the script
LIMIT = 3 * ENDS


def travel(oracle: Oracle, seeds: Iterable[int]) -> Toll:
    with PodsSeen(oracle.cluster.admin, NAMESPACE) as seen:
        fleet = Fleet(oracle.cluster, seen, "theirs", seeds)
        fleet.deploy()
        began = time.monotonic()

        def now() -> float:
            return (time.monotonic() - began) * COMPRESSED

        def arrived() -> bool:
            fleet.follow()
            fleet.advance(now())
            return fleet.arrived()

        for app in fleet.apps.values():
            oracle.apis.external[app.name] = partial(_figures, app, now)
            oracle.create(app.name, _hpa(app.name))
            fleet.advance(now())
        while not arrived():
            assert now() < LIMIT, f"not every Deployment is at {TO} pods"
            time.sleep(PACE)
        oracle.delete(fleet.apps)
        fleet.remove()
        return fleet.toll()


def _figures(app: App, now: Callable[[], float]) -> list[int]:
    """The external metric, in milli-sessions."""
    return [1000 * app.users.live(now()).total()]


def _hpa(name: str) -> dict[str, Any]:
    metric = {"name": name}
    average = {"type": "AverageValue", "averageValue": str(SEATS)}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": TO,
        "maxReplicas": FROM,
        "metrics": [{"type": "External", "external": {"metric": metric, "target": average}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": WINDOW // COMPRESSED}},
    }
