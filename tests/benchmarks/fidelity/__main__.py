"""How close simulations come to reality, measured on real components.

`python -m tests.benchmarks.fidelity [hpa] [wave] [--json]` makes both measurements, or the one that
is named. `hpa`: the real HPA controller and the simulated one follow the same curves. `wave`: one
wave of real users under our daemon on a real node, as root, and the same wave simulated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.fidelity import controller
from tests.benchmarks.fidelity.report import hpa_figures, hpa_table, wave_figures, wave_table
from tests.benchmarks.fidelity.wave import Recording
from tests.lab.starvation import Watch

NODE = [sys.executable, "-m", "tests.lab.real_node", "--stack", "--"]
WAVE = [sys.executable, "-m", "tests.benchmarks.fidelity.wave"]


def hpa(seed: int) -> dict[str, Any]:
    loads = controller.loads(seed)
    with tempfile.TemporaryDirectory() as folder:
        controller.measure(loads, Path(folder))
    return hpa_figures(loads)


def wave(seed: int) -> dict[str, Any]:
    """On a node of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "wave.json")
        command = [*NODE, *WAVE, "--seed", str(seed), "--to", str(file)]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise SystemExit("no figures: the wave failed")
        return wave_figures(Recording.read(file))


PARTS: dict[str, tuple[Callable[[int], dict[str, Any]], Callable[..., Any]]] = {
    "hpa": (hpa, hpa_table),
    "wave": (wave, wave_table),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print tables, or with --json one object."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.fidelity")
    parser.add_argument("parts", nargs="*", metavar="PART", help="hpa, wave (by default both)")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    parser.add_argument("--seed", type=int, default=1, help="of the curves and the users")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {min(unknown)}: there are {', '.join(PARTS)}")
    watch, figures = Watch(), {}
    for part in options.parts or PARTS:
        measure, table = PARTS[part]
        began = watch.now()
        figures[part] = {**measure(options.seed), "starved": watch.starved_since(began)}
        if not options.json:
            starved = figures[part]["starved"] and f"starved machine: {figures[part]['starved']}\n"
            print(*table(figures[part]), starved, sep="\n", flush=True)
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
