"""What the threads of a leadership do from time to time, done once and by hand."""

from __future__ import annotations

from autoscaler.control.leadership import LeaseLeadership


def make_round(leadership: LeaseLeadership) -> None:
    """Look at every Lease, and keep what this daemon is to keep."""
    leadership._membership.attempt()
    for shard in leadership._shards:
        shard.attempt()
    for guard in filter(leadership._old._is_due, leadership._old._guards.values()):
        leadership._old.attempt(guard)
