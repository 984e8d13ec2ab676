"""The errors of the shell. Each is one line for the reader: what failed, where, what to change.

Adapters translate their client's exceptions into these at the line of the call, so nothing above
an adapter knows which client library is in use.
"""

from __future__ import annotations


class AutoscalerError(Exception):
    """Base of everything the daemon reports in one line instead of a traceback."""


class PolicyError(AutoscalerError):
    """A policy file that cannot be used."""


class MetricsError(AutoscalerError):
    """Prometheus (or an exporter) did not give a usable answer."""


class ClusterError(AutoscalerError):
    """The Kubernetes API (or the local process table) did not do what was asked."""


class RefusedError(ClusterError):
    """The API said no (HTTP 4xx), so nothing was changed; without an answer something may be."""


class ConflictError(RefusedError):
    """The object changed since it was read (HTTP 409): observe again and decide again."""


class ForbiddenError(RefusedError):
    """The credentials lack a permission (HTTP 401 or 403); the message names verb and resource."""


class TargetNotFoundError(RefusedError):
    """The Deployment of a policy does not exist (HTTP 404)."""


class LeaseError(AutoscalerError):
    """This daemon may not act in a namespace: the Lease is another's, or not renewed in time."""
