"""`make big-data`: the example on this machine until Ctrl-C, with so many points."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import big_data_servers as servers
from tests.lab.big_data_environment import ENVIRONMENT
from tests.lab.go import cache

POINTS = 10_000_000


def made(points: int) -> Path:
    """So many points, in the cache. Raises SystemExit where they cannot be made."""
    folder = cache() / "big-data" / f"points-{points}"
    options = ("--points", str(points))
    if servers.make(ENVIRONMENT.python(), folder, *options, quiet=False).returncode:
        raise SystemExit(1)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.live_big_data", description=__doc__)
    parser.add_argument("--points", type=int, default=POINTS, metavar="N")
    options = parser.parse_args(arguments)
    if problem := ENVIRONMENT.get():
        print(f"the packages of the example could not be installed: {problem}", file=sys.stderr)
        return 1
    python, folder = ENVIRONMENT.python(), made(options.points)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            servers.service(python, folder) as service,
            servers.app(python, folder, BIG_DATA_SERVICE=service.url) as app,
        ):
            print(f"the galaxy          {app.url}")
            print(f"its users and load  {app.sidecar_url}/metrics")
            print(f"single stars        {service.url}/points")
            print("Ctrl-C ends it all.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
