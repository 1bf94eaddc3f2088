"""Times in buckets: quantiles lie between the bounds that hold them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.ledger.histogram import BOUNDS_MS, BUCKETS, add_counts, estimate_quantile, find_bucket


@given(st.lists(st.floats(0, 59), min_size=1, max_size=50), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_as_exact_as_its_bucket(seconds: list[float], share: float) -> None:
    """At most one bound away from the real one."""
    counts = [0] * BUCKETS
    for one in seconds:
        counts[find_bucket(one)] += 1
    found = estimate_quantile(counts, share)
    assert found is not None
    rank = min(int(share * len(seconds) + 0.999999), len(seconds))
    real = sorted(seconds)[max(rank, 1) - 1]
    at = find_bucket(real)
    assert (BOUNDS_MS[at - 1] if at else 0) <= found <= BOUNDS_MS[at]


def test_of_nothing_there_is_none() -> None:
    """And of other bounds, as an older version had them, what fits is kept."""
    assert estimate_quantile([0] * BUCKETS, 0.5) is None
    assert add_counts([1, 2], [3])[:2] == [4, 2]
    assert estimate_quantile([*[0] * (BUCKETS - 1), 1], 0.5) == BOUNDS_MS[-1]
