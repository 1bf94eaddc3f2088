"""Ended calls leave nothing behind in a server process, and open ones take little."""

from __future__ import annotations

import pytest

from tests.soak.call_memory import measure


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_memory_is_flat_over_many_calls() -> None:
    """After the first wave no further call adds memory; one that is open takes less than 1 MB."""
    result = measure(400, 200)
    _, first, last = result.table
    assert last.rss < first.rss + 30
    assert last.peak < first.rss + 250
    assert result.further < 1
