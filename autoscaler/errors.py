"""The errors that adapters raise. Each is one line: what failed, where, and what to change.

An adapter translates the exceptions of its client library into these where it calls it, so the code
above the adapters does not depend on any client library.
"""

from __future__ import annotations

# What pip installs this package from, and where. No index has it before its first release. Then
# these become "bokeh-autoscaler" and "", and tests/docs/test_install.py names what has to follow.
SOURCE, PLACE = ".", " in the checkout of bokeh-autoscaler"


def install_hint(extras: str) -> str:
    """Return the command that installs the package with these extras, such as `daemon,report`."""
    return f"run pip install '{SOURCE}[{extras}]'{PLACE}"


class AutoscalerError(Exception):
    """Base class of the errors that are reported in one line instead of a traceback."""


class PolicyError(AutoscalerError):
    """A policy file that cannot be used."""


class MetricsError(AutoscalerError):
    """Prometheus (or an exporter) gave no usable answer."""


class ClusterError(AutoscalerError):
    """A request to the Kubernetes API (or to the demo's local cluster) failed.

    retry_after: seconds for which the API asked to wait before the next request.
    """

    retry_after: float = 0.0


class RefusedError(ClusterError):
    """The API rejected a request (HTTP 4xx), so it changed nothing.

    Other errors, such as a missing answer, leave open whether it did.
    """


class ConflictError(RefusedError):
    """The object has changed since it was read (HTTP 409); observe and decide again."""


class ForbiddenError(RefusedError):
    """The credentials lack a permission (HTTP 401 or 403); the message names verb and resource."""


class TargetNotFoundError(RefusedError):
    """The Deployment of a policy does not exist (HTTP 404)."""


class ThrottledError(RefusedError):
    """A request was not made, or rejected with HTTP 429, because there are too many of them."""


class NotEmptyError(RefusedError):
    """A pod that was about to be removed is no longer empty, or its sidecar does not confirm it."""


class LeaseError(AutoscalerError):
    """This daemon may not act in a namespace: it does not hold the Lease or renewed it too late."""
