"""A tape plays what came, again and again, until it is told that nothing will be played again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.providers.resilience.tape import Tape


async def source_of(pieces: Sequence[str]) -> AsyncIterator[str]:
    """The pieces, one at a time."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


@given(
    st.lists(st.text(max_size=4), max_size=12), st.lists(st.integers(0, 12), max_size=4), st.integers(0, 12)
)
@settings(deadline=None)
def test_every_player_hears_everything(pieces: list[str], stops: list[int], let_go: int) -> None:
    """Players that stop anywhere change nothing for the next; letting go loses nothing of what is to come."""

    async def run() -> None:
        async with Tape(source_of(pieces)) as tape:
            for stop in stops:
                async with aclosing(tape.play()) as player:
                    heard = [piece async for _, piece in _first(stop, player)]
                assert heard == pieces[:stop]
            heard = []
            async for piece in tape.play():
                heard.append(piece)
                if len(heard) == let_go:
                    tape.let_go()
            assert heard == pieces

    asyncio.run(run())


async def _first(count: int, player: AsyncIterator[str]) -> AsyncIterator[tuple[int, str]]:
    for number in range(count):
        piece = await anext(player, None)
        if piece is None:
            return
        yield number, piece


async def test_a_cancelled_player_does_not_cancel_the_source() -> None:
    """The piece that was on its way is there for the next one."""
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        await gate.wait()
        yield "late"

    async with Tape(slow()) as tape:
        first = asyncio.ensure_future(anext(tape.play()))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        gate.set()
        assert [piece async for piece in tape.play()] == ["late"]


async def test_leaving_ends_the_source_and_its_failure_is_the_callers() -> None:
    """No task is left behind; an error of the source comes out of every player as it is."""
    closed, never = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            await never.wait()
            yield "never"
        finally:
            closed.set()

    async with Tape(endless()) as tape:
        waiting = asyncio.ensure_future(anext(tape.play()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert closed.is_set()

    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise LookupError

    async with Tape(broken()) as tape:
        for _ in range(2):
            player = tape.play()
            assert await anext(player) == "a"
            with pytest.raises(LookupError):
                await anext(player)
        assert isinstance(tape.failure, LookupError)


async def test_a_tape_that_is_full_is_not_whole() -> None:
    """Beyond its limit it keeps nothing, and says so; the one who is playing misses nothing."""
    async with Tape(source_of(["abc", "def", "ghi"]), limit=4) as tape:
        assert [piece async for piece in tape.play()] == ["abc", "def", "ghi"]
        assert not tape.whole
