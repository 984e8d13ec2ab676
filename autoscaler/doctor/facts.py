"""All that was seen of one set-up. Pure: the adapters have gathered it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoscaler.adapters.kubernetes.daemon_policies import DaemonPolicies
    from autoscaler.adapters.kubernetes.inspection import Daemon, Inspection
    from autoscaler.adapters.prometheus.scrapes import Scrapes
    from autoscaler.adapters.visitor import Visit
    from autoscaler.model import TargetRef
    from autoscaler.policy import Policy

# What the commands and manifests of the daemon and the sidecar use unless they say otherwise.
EXPORTER_PORT = 9550
SCRAPE_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. Each part is None if it was not asked for.

    policy: the one of the target, if policies were given. daemon_policies: those that the daemon
    has, whatever policies were given. exporter_port: of the sidecars.
    failure: why the cluster could not be examined at all.
    scrape_interval: seconds, as the daemon was told. now: Unix seconds when the cluster was seen.
    """

    ref: TargetRef | None = None
    daemon: Daemon | None = None
    policy: Policy | None = None
    daemon_policies: DaemonPolicies | None = None
    cluster: Inspection | None = None
    scrapes: Scrapes | None = None
    scrape_interval: float = SCRAPE_INTERVAL
    visit: Visit | None = None
    failure: str = ""
    exporter_port: int = EXPORTER_PORT
    now: float | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether the target may be there and could not be seen, so that nothing is known of it."""
        seen = self.cluster
        unseen = seen is not None and seen.deployment is None and "deployment" not in seen.absent
        return bool(self.failure) or unseen

    @property
    def has_no_policy(self) -> bool:
        """Whether it is known that nobody scales the target by a policy, be it an invalid one."""
        if self.daemon_policies is None:
            is_absent = self.cluster is not None and "daemon" in self.cluster.absent
            return is_absent and self.policy is None
        return self.is_unnamed and self.policy is None

    @property
    def is_unnamed(self) -> bool:
        """Whether it is known that no policy of the daemon names the target, valid or not."""
        named = self.daemon_policies
        if named is None:
            return False
        rejected = [each.target for each in named.rejected]
        return not named.unread and self.ref not in (*named.targets, *rejected)

    @property
    def unexamined(self) -> tuple[str, ...]:
        """What could not be examined, a line each."""
        problems = (
            self.failure,
            self.scrapes.problem if self.scrapes else "",
            self.visit.unexamined if self.visit else "",
        )
        seen = self.cluster.unexamined if self.cluster else ()
        named = self.daemon_policies
        unread = named.unread if named and self.ref not in named.targets else ()
        return (*filter(None, problems), *seen, *unread)
