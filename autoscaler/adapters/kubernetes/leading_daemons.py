"""The daemons that lead, and their pages: through the API server, with the caller's own rights.

That needs `get` on two or more Leases by name, and `get` on `pods/proxy`; nothing is written.
"""

from __future__ import annotations

from typing import Any

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.control.leadership import host_of
from autoscaler.core.lease import Place
from autoscaler.core.membership import from_text
from autoscaler.core.shards import MOST_SHARDS
from autoscaler.errors import AutoscalerError, ClusterError, ForbiddenError, RefusedError


class LeadingDaemons:
    """The daemons with Leases of one name. lease: namespace and first part of the Leases' names.

    port: on which the daemons serve their pages. Methods raise AutoscalerError.
    """

    def __init__(self, api: client.ApiClient, lease: Place, port: int) -> None:
        self._core = client.CoreV1Api(api)
        self._leases = KubernetesLeases(api, *lease)
        self._port = port

    def pods(self) -> list[str]:
        """Return the pods whose daemons lead a shard, each once."""
        leases, shards = self._leases, self._shards()
        found = [
            leases.read(Place(leases.namespace, f"{leases.name}-{shard}"))
            for shard in range(shards)
        ]
        names = dict.fromkeys(host_of(each.holder) for each in found if each and each.holder)
        if not names:
            raise self._nobody(f"nobody holds Lease {Place(leases.namespace, leases.name)}-0")
        return list(names)

    def page(self, pod: str, path: str) -> Any:
        """Return the parsed JSON of a page of a pod's daemon."""
        namespace, name = self._leases.namespace, f"{pod}:{self._port}"
        what = ("get", "pods/proxy", namespace, name)
        call = self._core.connect_get_namespaced_pod_proxy_with_path
        try:
            return ask(what, call, name, namespace, path.removeprefix("/"))
        except ForbiddenError:
            raise
        except (ClusterError, RefusedError) as error:
            forward = f"kubectl -n {namespace} port-forward {pod} {self._port}"
            url = f"http://localhost:{self._port}"
            raise AutoscalerError(f"{error}; or run {forward} and set --url {url}") from None

    def _shards(self) -> int:
        """Return into how many shards the daemons that run share the namespaces."""
        place = Place(self._leases.namespace, f"{self._leases.name}-daemons")
        found = self._leases.read(place)
        if found is None:
            raise self._nobody(f"there is no Lease {place}")
        listed = from_text(found.state) or ()
        return min(MOST_SHARDS, max((member.shards for member in listed), default=1))

    def _nobody(self, why: str) -> AutoscalerError:
        cure = "set --lease-namespace and --lease as the daemon has them, or --url"
        return AutoscalerError(f"no daemon leads: {why}; {cure}")
