"""The back-off: grows, and never beyond its longest delay."""

from __future__ import annotations

from agentsd.core.backoff import Backoff


def test_delays_grow_to_the_longest() -> None:
    backoff = Backoff(first_seconds=0.5, longest_seconds=3.0)
    assert [backoff.delay(failures) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.delay(10**9) == 3.0


def test_spread_shortens_by_up_to_half() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=1.0)
    assert (backoff.delay(3, 0.0), backoff.delay(3, 1.0)) == (1.0, 0.5)
