"""Histogram of times with fixed bounds, so that those of replicas and minutes add up. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_MS = (
    10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 500, 650, 800, 1000, 1300, 1600, 2000, 2500, 3000, 4000,
    5000, 7500, 10_000, 20_000, 60_000,
)  # fmt: skip
"""Upper bounds in milliseconds; one more bucket holds what is slower."""
BUCKETS = len(BOUNDS_MS) + 1


def find_bucket(seconds: float) -> int:
    """Return the bucket of a time."""
    return bisect_left(BOUNDS_MS, seconds * 1000)


def add_counts(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return the sum of two histograms; one that was kept with other bounds is cut or filled with zeros."""
    return [
        (first[at] if at < len(first) else 0) + (second[at] if at < len(second) else 0)
        for at in range(BUCKETS)
    ]


def estimate_quantile(counts: Sequence[int], share: float) -> int | None:
    """Return the milliseconds below which ``share`` of the times are, between two bounds; None of none."""
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for at, count in enumerate(counts):
        if count and below + count >= wanted:
            low = BOUNDS_MS[at - 1] if at else 0
            high = BOUNDS_MS[at] if at < len(BOUNDS_MS) else BOUNDS_MS[-1]
            return round(low + (high - low) * (wanted - below) / count)
        below += count
    return BOUNDS_MS[-1]
