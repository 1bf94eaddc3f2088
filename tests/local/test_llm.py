"""llama.cpp on this machine: real generation, nothing asserted about its taste."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agentsd.providers.base import ProviderRejected
from agentsd.providers.catalog import Catalog
from agentsd.providers.transport.sessions import HttpSessions
from tests.local.conftest import Make

NAME = "llama-cpp.embedded"


def asked(text: str, **more: Any) -> dict[str, Any]:
    """A request with a system prompt, which so small a model needs."""
    system = {"role": "system", "content": "You are a helpful assistant."}
    return {"messages": [system, {"role": "user", "content": text}], **more}


async def test_a_whole_answer(make: Make) -> None:
    """A completion has text, a reason why it ended and its usage; the file's path is not told."""
    answer = await make("llm", NAME).complete(asked("What is the capital of France?", temperature=0))
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert len(choice["message"]["content"]) > 3
    assert choice["finish_reason"] in ("stop", "length")
    assert answer["usage"]["completion_tokens"] > 1
    assert answer["object"] == "chat.completion"
    assert "model" not in answer


async def test_a_streamed_answer(make: Make) -> None:
    """Chunks come one by one, and together are the answer that an unstreamed request gets."""
    llm = make("llm", NAME)
    request = asked("Tell me about rivers.", temperature=0, seed=1, max_tokens=24)
    chunks = [chunk async for chunk in llm.stream(request)]
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert len([text for text in texts if text]) > 5
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    whole = await llm.complete(request)
    assert whole["choices"][0]["message"]["content"] == "".join(texts)


async def test_the_manifest_bounds_an_answer(make: Make) -> None:
    """``max_tokens`` of the manifest holds unless the request says otherwise."""
    llm = make("llm", NAME, max_tokens=5)
    request = asked("Tell me about rivers.", temperature=0)
    short = await llm.complete(request)
    assert short["usage"]["completion_tokens"] == 5
    longer = await llm.complete(request | {"max_completion_tokens": 9})
    assert longer["usage"]["completion_tokens"] == 9


async def test_leaving_early_stops_the_generation(make: Make, sessions: HttpSessions) -> None:
    """Closing a stream frees its slot: with one slot, the next answer does not wait for the first's end."""
    llm = make("llm", NAME, parallel=1, max_tokens=1500)
    for _ in range(5):
        async with aclosing(llm.stream(asked("Tell me a very long story."))) as chunks:
            async for chunk in chunks:
                if chunk["choices"][0]["delta"].get("content"):
                    break
    answer = await llm.complete(asked("Say yes.", max_tokens=3))
    assert answer["usage"]["completion_tokens"] <= 3


async def test_cancelled_requests_leave_nothing(make: Make) -> None:
    """Requests cancelled before, at and after the first token let the next one through."""
    llm = make("llm", NAME, parallel=1, max_tokens=1500)
    for turns in (0, 1, 20, 200):
        task = asyncio.create_task(llm.complete(asked("Tell me a very long story.")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await llm.complete(asked("Say yes.", max_tokens=3)))["choices"]


async def test_side_by_side(make: Make) -> None:
    """Five requests on two slots are all answered, and the event loop goes on meanwhile."""
    llm = make("llm", NAME, parallel=2)
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    answers = await asyncio.gather(*(llm.complete(asked(f"Say {n}.", max_tokens=8)) for n in range(5)))
    ticking.cancel()
    assert len(answers) == 5
    assert turns > 100


async def test_one_model_for_all_agents(make: Make, sessions: HttpSessions) -> None:
    """Agents with the same file and shape share one model; the last to go frees it."""
    first, second = make("llm", NAME, temperature=0), make("llm", NAME, max_tokens=9)
    assert sessions.engines.loaded() == frozenset()
    await first.complete(asked("Hi.", max_tokens=2))
    assert list(sessions.engines.holders().values()) == [2]
    await first.aclose()
    await second.complete(asked("Hi.", max_tokens=2))
    assert len(sessions.engines.loaded()) == 1
    await second.aclose()
    assert sessions.engines.holders() == {}


async def test_too_long_a_conversation(make: Make) -> None:
    """What does not fit the context is refused, with the field that would help."""
    llm = make("llm", NAME, context_tokens=256)
    with pytest.raises(ProviderRejected) as caught:
        await llm.complete(asked("word " * 2000))
    assert "context_tokens" in caught.value.hint
    assert "word" not in caught.value.message


async def test_a_bad_request(make: Make) -> None:
    """A request that llama.cpp cannot read is refused in our own words."""
    llm = make("llm", NAME)
    with pytest.raises(ProviderRejected):
        await llm.complete({"messages": "secret"})


async def test_a_model_that_was_hardly_loaded(make: Make, catalog: Catalog) -> None:
    """It is closed at once, again and again, and the process goes on."""
    make("llm", NAME)  # or skipped
    for _ in range(3):
        sessions = HttpSessions()
        llm = catalog.build("llm", catalog.settings_of("llm", {"provider": NAME}), sessions)
        with pytest.raises(ProviderRejected):
            await llm.complete({"messages": "secret"})
        await llm.aclose()
        await sessions.aclose()


async def test_it_listens_nowhere(make: Make, sessions: HttpSessions) -> None:
    """The server that the library starts has no port, and no address in the file system."""
    llm = make("llm", NAME)
    await llm.complete(asked("Hi.", max_tokens=2))
    pid = next(iter(sessions.engines._pool.shared.values())).current.pid
    mine = {file.readlink().name for file in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        assert not [line for line in lines if f"socket:[{line.split()[9]}]" in mine]
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    named = [Path(line[7]) for line in sockets if len(line) > 7 and f"socket:[{line[6]}]" in mine]
    assert named, "the engine listens on a socket, whose name was removed"
    assert not [path for path in named if path.exists()]
