"""Ended calls leave nothing behind in a server process."""

from __future__ import annotations

import pytest

from tests.soak.call_memory import measure


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_memory_is_flat_over_many_calls() -> None:
    """After the first wave no further call adds memory; a minute later most is handed back."""
    table = measure(400, 200)
    _, first, last, idle = table
    assert last.rss < first.rss + 60
    assert idle.rss < last.rss
