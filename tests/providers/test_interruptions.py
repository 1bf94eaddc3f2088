"""Interrupted at any moment, a stream leaves no task, no connection and no claim behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsd.providers.transport.sessions import HttpSessions
from tests.providers import test_listening, test_speech
from tests.providers.conftest import Make
from tests.vendors.base import VendorServer
from tests.vendors.openai_server import OpenAIServer

STEPS = 60
"""Turns of the event loop after which a stream is interrupted: from before it connects to after it ended."""


def llm(make: Make, server: VendorServer) -> Any:
    client = make("llm", provider="openai-compatible", model="m", api_url=server.url)
    return lambda: client.stream({"messages": [{"role": "user", "content": "hi"}]})


def voice(case: test_speech.Case) -> Any:
    def start(make: Make, server: VendorServer) -> Any:
        client = case.make(make, server)
        return lambda: client.stream(test_speech.of(test_speech.TEXT))

    return start


def ear(case: test_listening.Case) -> Any:
    def start(make: Make, server: VendorServer) -> Any:
        client = case.make(make, server)
        return lambda: client.stream(test_listening.of(test_listening.audio(1.5)))

    return start


STREAMS = [
    pytest.param(OpenAIServer, llm, id="llm"),
    *(pytest.param(case.server, voice(case), id=f"tts-{case.name}") for case in test_speech.CASES),
    *(pytest.param(case.server, ear(case), id=f"stt-{case.name}") for case in test_listening.CASES),
]


def lent(sessions: HttpSessions) -> int:
    """Connections that are in use."""
    open_pools = [pool.session for pool in sessions._pools.values() if pool.session is not None]
    return sum(len(session.connector._acquired) for session in open_pools)  # type: ignore[union-attr]


async def drain(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        continue


@pytest.mark.parametrize(("server_class", "start"), STREAMS)
async def test_cancelled_at_any_moment(
    make: Make, sessions: HttpSessions, server_class: Any, start: Any
) -> None:
    """A task that is cancelled after any number of steps, and then the same client once more, whole."""
    async with server_class() as server:
        stream = start(make, server)
        await drain(stream())
        for steps in range(STEPS):
            task = asyncio.create_task(drain(stream()))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled() or task.exception() is None
            assert lent(sessions) == 0
        await drain(stream())
        assert lent(sessions) == 0
        ours = [task for task in asyncio.all_tasks() if "agentsd" in repr(task.get_coro())]
    assert ours == []


@pytest.mark.parametrize(("server_class", "start"), STREAMS)
async def test_closed_after_the_first_item(
    make: Make, sessions: HttpSessions, server_class: Any, start: Any
) -> None:
    """Whoever closes the iterator gives its connection back."""
    async with server_class() as server:
        stream = start(make, server)
        for _ in range(20):
            items = stream()
            await anext(items)
            await items.aclose()
            assert lent(sessions) == 0
