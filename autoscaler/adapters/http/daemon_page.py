"""A page of a daemon at an address, such as the local end of a forwarded port."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from autoscaler.adapters.http.answers import NoReply, json_of
from autoscaler.adapters.http.channel import Channel, endpoint_of
from autoscaler.errors import AutoscalerError
from exporter.texts import LONGEST_NAME, visible

# Seconds for the whole answer, and bytes of it: a policy has 2 KiB.
WITHIN, LARGEST = 5.0, 4 << 20
EXAMPLE = "expected an address such as http://localhost:9551"


def daemon_page(url: str, path: str) -> Any:
    """Return the parsed JSON of a page.

    url: of the daemon, with the path prefix of a proxy, if any. Raises AutoscalerError.
    """
    endpoint = endpoint_of(url, ssl.create_default_context)
    if endpoint is None:
        raise AutoscalerError(f"--url {url}: {EXAMPLE}")
    target = f"{urlsplit(url).path.rstrip('/')}{path}"
    try:
        reply = Channel(endpoint).get(target, {}, within=WITHIN, largest=LARGEST)
    except TimeoutError:
        raise _failed(url, f"no complete answer within {WITHIN:g} s") from None
    except OSError as error:
        raise _failed(url, error.strerror or str(error)) from None
    except ValueError:
        raise AutoscalerError(f"--url {url}: {EXAMPLE}") from None
    if isinstance(reply, NoReply):
        raise _failed(url, f"it {reply.reason}")
    if reply.status != 200:
        said = visible(reply.body.decode(errors="replace").strip(), LONGEST_NAME)
        raise _failed(url, f"{path} answered HTTP {reply.status}: {said}")
    try:
        return json_of(reply.body)
    except ValueError:
        raise _failed(url, f"{path} is no JSON") from None


def _failed(url: str, why: str) -> AutoscalerError:
    cure = "set --url to the address of a daemon, or of a port that leads to it"
    return AutoscalerError(f"cannot ask the daemon at {url}: {why}; {cure}")
