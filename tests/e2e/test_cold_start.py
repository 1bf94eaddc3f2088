"""Show 9: Postgres away, a runtime restarted: it serves from disk, says how old that is, and catches up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentsd.core.names import derive_agent_id
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import until


def writes(client: Client, url: str, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many snapshots were written."""

    async def look() -> bool:
        return await client.metric(url, "agentsd_snapshot_writes_total") >= count

    return look


async def started(home: Home, postgres: EmbeddedPostgres) -> str:
    """A migrated database on a server of its own."""
    url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, url)
    home.env |= {"AGENTSD_DATABASE_URL": url, "AGENTSD_SHUTDOWN_GRACE": "0"}
    return url


async def test_a_restart_without_postgres(home: Home, client: Client, postgres: EmbeddedPostgres) -> None:
    """Agents answer from disk, the age is told everywhere, and what was synced meanwhile comes by version."""
    url = await started(home, postgres)
    home.write("a.yaml", echo("one", id=derive_agent_id("a")))
    assert (await home.run("sync")).code == 0
    serve, at = await home.serve(url)
    await until(writes(client, at, 1))
    await serve.kill()
    await asyncio.to_thread(postgres.stop)

    serve, at = await home.serve(url)
    assert await client.say(at, "a") == "one"
    status, body = await client.ready(at)
    assert (status, body["store"], body["from_disk"], body["version"]) == (200, "away", True, 1)
    assert body["age_seconds"] > 0
    known = await client.get(f"{at}/api/sync")
    assert (known["from_disk"], known["runs"]) == (True, None)
    assert await client.metric(at, "agentsd_snapshot_from_disk") == 1
    assert await client.metric(at, "agentsd_store_contact_age_seconds") > 0
    await serve.says("serving from disk")

    await asyncio.to_thread(postgres.start)
    home.write("a.yaml", echo("two", id=derive_agent_id("a")))
    assert (await home.run("sync")).code == 0
    await client.serves(at, 2)
    assert await client.say(at, "a") == "two"
    assert (await client.ready(at))[1]["from_disk"] is False
    assert await client.metric(at, "agentsd_snapshot_from_disk") == 0
    assert await client.metric(at, "agentsd_full_reloads_total") == 0
    assert (await serve.stop()).code == 0
