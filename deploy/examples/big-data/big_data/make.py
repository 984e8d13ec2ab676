"""Makes a galaxy: any number of stars as sharded Parquet, the same for the same seed.

`python -m big_data.make data --points 10_000_000`. A shard depends on the seed and its own number
only, so every machine makes the same ones, and a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

GROUP_ROWS = 65_536
KINDS = ("O", "B", "A", "F", "G", "K", "M")  # spectral classes, the rarest first
SHARES = (0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4)
ARMS, PITCH, RADIUS = 4, 0.28, 50_000.0  # light years
MADE_FROM = b"made from"

SCHEMA = pa.schema(
    [
        ("x", pa.float32()),  # light years
        ("y", pa.float32()),
        ("brightness", pa.float32()),  # magnitudes above the faintest
        ("kind", pa.dictionary(pa.int8(), pa.string())),
    ]
)


def galaxy(random: np.random.Generator, rows: int) -> pa.Table:
    """A bulge, a disc and four spiral arms; near points are near each other in the table."""
    x, y = _positions(random, rows)
    kind = random.choice(len(KINDS), rows, p=SHARES).astype(np.int8)
    brightness = (10 - kind + random.gamma(2.0, 0.8, rows)).astype(np.float32)
    order = np.argsort(_z_order(x, y))
    kinds = pa.DictionaryArray.from_arrays(kind[order], pa.array(KINDS))
    return pa.table([x[order], y[order], brightness[order], kinds], schema=SCHEMA)


def _positions(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    radius = RADIUS * random.beta(1.3, 2.6, rows)
    arm = random.integers(ARMS, size=rows) * (2 * np.pi / ARMS)
    angle = np.log1p(radius / 2_000) / PITCH + arm + random.normal(0, 0.25, rows)
    disc = random.random(rows) < 0.3
    angle[disc] = random.uniform(0, 2 * np.pi, disc.sum())
    bulge = random.random(rows) < 0.2
    radius[bulge] = np.abs(random.normal(0, 3_000, bulge.sum()))
    blur = random.normal(0, 350, (2, rows))
    x, y = radius * np.cos(angle) + blur[0], radius * np.sin(angle) + blur[1]
    return x.astype(np.float32), y.astype(np.float32)


def _z_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank along a Z-order curve (Morton 1966): row groups become small rectangles of the plane."""
    return _spread(_cell(x)) | (_spread(_cell(y)) << np.uint32(1))


def _cell(values: np.ndarray) -> np.ndarray:
    """One of 65,536 columns or rows of the plane."""
    scaled = (values / (2.4 * RADIUS) + 0.5) * 65_535
    return np.clip(scaled, 0, 65_535).astype(np.uint32)


def _spread(bits: np.ndarray) -> np.ndarray:
    """16 bits with a zero between each two."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        bits = (bits | (bits << np.uint32(shift))) & np.uint32(mask)
    return bits


def make(folder: Path, points: int, seed: int, shard_rows: int) -> None:
    """Write what is missing of the shards, and remove those of a larger galaxy."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [min(shard_rows, points - first) for first in range(0, points, shard_rows)]
    with tqdm(total=points, unit=" points", unit_scale=True, desc=str(folder)) as bar:
        for number, rows in enumerate(sizes):
            _make_shard(folder / _name(number), seed, number, rows)
            bar.update(rows)
    for file in folder.glob("points-*.parquet"):
        if file.name >= _name(len(sizes)):
            file.unlink()


def _name(number: int) -> str:
    return f"points-{number:05}.parquet"


def _make_shard(file: Path, seed: int, number: int, rows: int) -> None:
    mark = f"seed {seed}, shard {number}, {rows} rows".encode()
    if _mark(file) == mark:
        return
    table = galaxy(np.random.default_rng([seed, number]), rows)
    partial = file.with_suffix(".partial")
    table = table.replace_schema_metadata({MADE_FROM: mark})
    pq.write_table(table, partial, row_group_size=GROUP_ROWS, compression="zstd")
    partial.replace(file)


def _mark(file: Path) -> bytes:
    """What a shard says that it was made from; nothing if it is not whole or not ours."""
    try:
        return (pq.read_schema(file).metadata or {}).get(MADE_FROM, b"")
    except (OSError, pa.ArrowException):
        return b""


def _count(text: str) -> int:
    """10_000_000, 10000000 or 1e7."""
    try:
        value = int(float(text))
    except (ValueError, OverflowError):
        value = 0
    if not 1 <= value <= 10_000_000_000:
        raise argparse.ArgumentTypeError("expected 1 to 10,000,000,000")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m big_data.make", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=_count, default=10_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard-rows", type=_count, default=1_000_000, metavar="N")
    options = parser.parse_args(arguments)
    try:
        make(options.folder, options.points, options.seed, options.shard_rows)
    except OSError as error:
        print(f"big_data.make: {options.folder} cannot be written: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
