"""Turns of slow work by owner."""

from __future__ import annotations

import asyncio

from agentsd.system.owner_limiter import OwnerLimiter


async def test_one_owner_does_not_take_the_places_of_others() -> None:
    """Of three places, an owner gets one; each place becomes free with its turn's end."""
    limiter, running, go_on = OwnerLimiter(total=3, per_owner=1), list[str](), asyncio.Event()

    async def work(owner: str) -> None:
        async with limiter.turn(owner):
            running.append(owner)
            await go_on.wait()

    tasks = [asyncio.create_task(work(owner)) for owner in ("a", "a", "a", "b", "c", "d")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert sorted(running) == ["a", "b", "c"]
    go_on.set()
    await asyncio.gather(*tasks)
    assert sorted(running) == ["a", "a", "a", "b", "c", "d"]
