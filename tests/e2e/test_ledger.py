"""Usage under kill -9 and restarts of Postgres: what the vendor counted, but for a killed replica's flush."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import aiohttp
import psycopg
import pytest

from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.e2e.home import Home
from tests.e2e.processes import until
from tests.e2e.test_kills import kill_postmaster
from tests.vendors.openai_server import OpenAIServer

REPLICAS = 3
CLIENTS = 8
PAUSE_SECONDS = 0.08
"""Between two turns of a client, so that they last longer than the faults."""
MANIFEST = "llm: {{provider: openai-compatible, model: m, api_url: {url}, price: {{input: 1, output: 1}}}}\n"
CHAT = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}


async def ask(session: aiohttp.ClientSession, urls: list[str], turns: int, *, stream: bool) -> None:
    """So many turns, on each replica in turn; one that is gone is left out."""
    for number in range(turns):
        await asyncio.sleep(PAUSE_SECONDS)
        with suppress(aiohttp.ClientError):
            url = urls[number % len(urls)] + "/v1/chat/completions"
            async with session.post(url, json={**CHAT, "stream": stream}) as reply:
                await reply.read()


def count_turns(url: str) -> tuple[int, int, int]:
    """Turns, tokens in and tokens out, as the store has them."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(turns), 0), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) "
            "FROM agent_usage WHERE kind = 'llm'"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


async def answers(url: str) -> bool:
    """Whether Postgres does."""
    try:
        await asyncio.to_thread(count_turns, url)
    except psycopg.Error:
        return False
    return True


@pytest.mark.soak
async def test_usage_is_what_the_vendor_counted(home: Home, postgres: EmbeddedPostgres) -> None:
    """Three replicas, one killed, and Postgres killed twice: each turn once, but for what that one held."""
    url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, url)
    turns = int(os.environ.get("AGENTSD_SOAK_TURNS", "250"))
    async with OpenAIServer() as vendor, aiohttp.ClientSession() as session:
        home.write("one.yaml", MANIFEST.format(url=vendor.url))
        assert (await home.run("sync", AGENTSD_DATABASE_URL=url)).code == 0
        replicas = [await home.serve(url, "--no-cache") for _ in range(REPLICAS)]
        urls = [one for _, one in replicas]
        work = [
            asyncio.create_task(ask(session, urls, turns, stream=bool(number % 2)))
            for number in range(CLIENTS)
        ]
        supervising = asyncio.create_task(postgres.supervise(every_seconds=1))
        for _ in range(2):
            await asyncio.sleep(2)
            await kill_postmaster(postgres.data_dir)
            await until(lambda: answers(url))
        asked_before = len(vendor.requests)
        await asyncio.sleep(2)
        await replicas[0][0].kill()
        asked_within = len(vendor.requests) - asked_before
        assert asked_within
        await asyncio.gather(*work)
        counted = len(vendor.requests)

        async def settled() -> bool:
            first = await asyncio.to_thread(count_turns, url)
            await asyncio.sleep(5)
            return await asyncio.to_thread(count_turns, url) == first

        await until(settled, every=1)
        found = count_turns(url)
        print(f"{found[0]} of {counted} turns are in the store; {asked_within} were asked before the kill")
        assert found[0] <= counted
        assert found[0] >= counted - asked_within  # one flush of one replica, at most
        assert found[1:] == (found[0] * 1, found[0] * 4)
        for process, _ in replicas[1:]:
            await process.stop()
        supervising.cancel()
