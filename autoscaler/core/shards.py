"""Which daemon acts where: namespaces belong to shards, and shards are shared among the daemons.

A shard is what one Lease stands for. Rendezvous hashing says which shard a namespace belongs to, so
that it is the same for every daemon with the same number of shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import blake2b

# More would only cost requests: each daemon keeps its own shards' Leases with a thread for each.
MOST_SHARDS = 64


@lru_cache(maxsize=100_000)
def shard_of(namespace: str, shards: int) -> int:
    """Return the shard that a namespace belongs to, from 0 to shards - 1."""
    return max(range(shards), key=lambda shard: _weight(namespace, shard))


def shares(
    holders: Mapping[int, str], daemons: Collection[str], shards: int
) -> Mapping[int, str | None]:
    """Return which daemon is to hold each shard, given who holds them now.

    No daemon has more than one shard more than another one, whoever holds a shard keeps it as long
    as that is so, and all daemons that see the same come to the same result. None: no daemon runs.
    """
    if not daemons:
        return dict.fromkeys(range(shards))
    held = Counter(name for shard, name in holders.items() if name in daemons and shard < shards)
    room = _quotas(held, daemons, shards)
    kept: dict[int, str | None] = {}
    for shard, name in sorted(holders.items(), key=lambda each: _weight(each[1], each[0])):
        if shard < shards and room.get(name, 0):
            kept[shard] = name
            room[name] -= 1
    for shard in range(shards):
        if shard not in kept:
            kept[shard] = name = max(
                (each for each in room if room[each]), key=lambda each: _weight(each, shard)
            )
            room[name] -= 1
    return kept


def _quotas(held: Counter[str], daemons: Collection[str], shards: int) -> dict[str, int]:
    """Return how many shards each daemon gets; those that hold most get the odd ones."""
    each, odd = divmod(shards, len(daemons))
    ranked = sorted(daemons, key=lambda name: (-held[name], _weight(name, -1), name))
    return {name: each + (rank < odd) for rank, name in enumerate(ranked)}


def _weight(name: str, shard: int) -> bytes:
    return blake2b(f"{shard}/{name}".encode(errors="replace"), digest_size=8).digest()
