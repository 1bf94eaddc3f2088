"""A short form of ``python -m tests.soak.calls``: a few calls with random faults of everybody."""

from __future__ import annotations

from tests.soak.calls import Soak
from tests.web.conftest import Stack

CALLS, LANES, SEED = 8, 4, 1


async def test_no_turn_ends_in_silence_whatever_fails(stack: Stack) -> None:
    """Each turn ends with a reason, each failure is shown, and no task, socket or lease is left."""
    calls = Soak(stack, SEED, quick=True)
    async with calls.at_work(LANES):
        await calls.run(range(CALLS))
        assert await calls.find_leaks() == []
    assert {one.number: one.faults for one in calls.outcomes if one.faults} == {}
    assert len(calls.outcomes) == CALLS
