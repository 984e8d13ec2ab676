"""`autoscaler users`: open an app with real sessions, as that many browsers do."""

from __future__ import annotations

import argparse
import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoscaler.commands.arguments import positive_duration, web_address, whole
from autoscaler.commands.lines import complain, say
from autoscaler.errors import AutoscalerError

if TYPE_CHECKING:
    from autoscaler.demo.clients import ClientPool

TELL_EVERY = 5.0
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("url", metavar="URL", type=web_address, help="address of a page of the app")
    parser.add_argument("count", metavar="N", type=_count, help="number of users")
    parser.add_argument(
        "--every",
        metavar="DURATION",
        type=positive_duration,
        default=0.5,
        help="time between two users who come (default: 0.5s)",
    )
    parser.add_argument(
        "--for",
        dest="stay",
        metavar="DURATION",
        type=positive_duration,
        default=float("inf"),
        help="time for which they stay once all have come, such as 5m "
        "(default: until Ctrl-C or TERM)",
    )


def _count(text: str) -> int:
    return whole(text, 1, 10_000)


def run(args: argparse.Namespace) -> int:
    """Open the sessions and keep them. Return 1 if a user was refused or cut off."""
    from autoscaler.demo.clients import ClientPool

    # A job in the background of a script ignores Ctrl-C, so TERM lets the users leave as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    clients = ClientPool()
    try:
        for number in range(args.count):
            if not clients.arrive("", args.url) and number == 0 and clients.failure is not None:
                raise AutoscalerError(_refusal(args.url, clients.failure))
            time.sleep(args.every)
        _stay(clients, args.stay)
    except AutoscalerError as error:
        complain(f"autoscaler users: {error}")
        return FAILED
    except KeyboardInterrupt:
        pass
    finally:
        cut = clients.cut
        clients.stop()
    say(f"{clients.left} users have left; {clients.refused} were refused, {cut} cut off")
    return FAILED if clients.refused or cut else 0


def _refusal(url: str, failure: Exception) -> str:
    """Return why the first user found no session, and what to do."""
    from autoscaler.adapters.bokeh_pages import is_connected, is_server_error, reason_of

    why = reason_of(failure)
    if not is_connected(failure):
        return (
            f"cannot connect to {urlsplit(url).netloc} ({why}); correct the address, or wait until "
            "the app has started"
        )
    if is_server_error(failure):
        return f"{url} answers with {why}; wait until the app has started, or look into its log"
    return f"{url} opens no session ({why}); name a page that `bokeh serve` serves"


def _stay(clients: ClientPool, seconds: float) -> None:
    """Tell how many are connected, whenever that changes, until the time is over."""
    until, told = time.monotonic() + seconds, ""
    while (left := until - time.monotonic()) > 0:
        words = f"{len(clients.present) - clients.cut} users are connected"
        words += f", {clients.refused} were refused, {clients.cut} cut off; Ctrl-C lets them leave"
        if words != told:
            say(words)
            told = words
        time.sleep(min(TELL_EVERY, left))
