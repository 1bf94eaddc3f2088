"""Calls with random faults: none has a turn that ends in silence, and none leaves anything behind."""

from __future__ import annotations

import pytest

from tests.soak.call_swaps import NAMES, open_house, run
from tests.soak.calls import soak


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_two_hundred_calls() -> None:
    """Faults of vendors, sockets and callers."""
    assert await soak(200, seed=13)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_no_turn_is_cut() -> None:
    """Hot swaps, a rolling restart and an outage of Postgres under twenty calls."""
    async with open_house() as house:
        for form in NAMES:
            report = await run(form, house)
            print(report.line())
            assert report.cut == []
