"""Runs and manifests' conditions on /api/events, and who is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.control.sync.run_log import record_error, record_result
from agentsd.core.errors import AgentsdError
from agentsd.files.tree import read_tree
from agentsd.runtime.follower.run_feed import RunFeed
from agentsd.web.rest.events import make_event_frames
from tests.web.conftest import Stack, echo

Event = tuple[str, dict[str, Any]]


async def on_record(stack: Stack, files: dict[str, str]) -> None:
    """A daemon's round, and what it leaves."""
    for path, text in files.items():
        stack.write(path, text)
    options, now = SyncOptions(strict=False), datetime.now(UTC)
    outcome = await stack.reconciler.sync(read_tree(stack.root), options)
    await record_result(stack.database, outcome, options, trigger="watch", started_at=now)


async def told(stack: Stack, timeline: RunFeed, owner: str | None) -> AsyncGenerator[Event]:
    """Runs and manifests' conditions that ``owner`` is told of; None first: the stream is open."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with aclosing(make_event_frames(stack.registry, timeline, owner, over, None)) as stream:
        async for frame in stream:
            lines = dict(line.split(": ", 1) for line in frame.decode().strip().splitlines())
            body = json.loads(lines["data"])
            if lines["event"] == "hello" or "run" in body or body.get("condition"):
                yield lines["event"], body


@contextmanager
def following(stack: Stack) -> Any:
    timeline = RunFeed(stack.database)
    task = asyncio.create_task(timeline.run())
    try:
        yield timeline
    finally:
        task.cancel()


async def looked(timeline: RunFeed) -> None:
    """Until it knows what was there before."""
    while timeline._seen is None:
        await asyncio.sleep(0.01)


async def test_what_happens_as_it_happens(stack: Stack) -> None:
    """A run, a manifest that is Invalid, that it is Ready again, and a run that was refused."""
    await on_record(stack, {"acme/a.yaml": echo("A")})
    with following(stack) as timeline:
        await looked(timeline)
        events = told(stack, timeline, None)
        assert (await anext(events))[0] == "hello"
        await on_record(stack, {"acme/b.yaml": "name: [\n"})
        kinds = [await anext(events), await anext(events)]
        assert [kind for kind, _ in kinds] == ["run", "condition"]
        assert kinds[0][1]["run"]["outcome"] == "unchanged"
        condition = kinds[1][1]["condition"]
        assert (condition["path"], condition["type"], kinds[1][1]["slugs"]) == (
            "acme/b.yaml",
            "Invalid",
            ["acme/b"],
        )
        await on_record(stack, {"acme/b.yaml": echo("B")})
        kinds = [await anext(events), await anext(events)]
        assert kinds[0][1]["run"]["outcome"] == "applied"
        assert kinds[1][1]["condition"]["type"] == "Ready"
        await record_error(
            stack.database, AgentsdError("no"), SyncOptions(), trigger="cli", started_at=datetime.now(UTC)
        )
        kind, body = await anext(events)
        assert (kind, body["run"]["outcome"]) == ("run", "failed")
        await events.aclose()


async def test_owners_are_told_of_their_own(stack: Stack) -> None:
    """Of runs that changed an agent of theirs, without counts; of the others, nothing at all."""
    await on_record(stack, {"acme/a.yaml": echo("A"), "globex/a.yaml": echo("A")})
    with following(stack) as timeline:
        await looked(timeline)
        acme, globex = told(stack, timeline, "acme"), told(stack, timeline, "globex")
        assert [(await anext(acme))[0], (await anext(globex))[0]] == ["hello", "hello"]
        await on_record(stack, {"globex/a.yaml": echo("Secret plan"), "globex/b.yaml": "name: [\n"})
        await on_record(stack, {"acme/a.yaml": echo("B")})
        kind, body = await anext(acme)
        assert (kind, body["run"]["outcome"], body["run"]["counts"]) == ("run", "applied", {})
        assert "globex" not in json.dumps(body)
        seen = [await anext(globex), await anext(globex)]
        assert [kind for kind, _ in seen] == ["run", "condition"]
        for one in (acme, globex):
            await one.aclose()


async def test_drift_is_told_to_its_owner_alone(stack: Stack) -> None:
    """In the run's record, as the API shows it."""
    await on_record(stack, {"acme/a.yaml": echo("A"), "globex/a.yaml": echo("A")})
    with following(stack) as timeline:
        await looked(timeline)
        acme = told(stack, timeline, "acme")
        await anext(acme)
        async with stack.database.transaction() as connection:
            await connection.execute("UPDATE agents SET name = 'Hacked ' || slug")
        stack.reconciler.forget()
        await on_record(stack, {})
        _, body = await anext(acme)
        (drift,) = body["run"]["drift"]
        assert drift["slug"] == "acme/a"
        assert {"operation": "change", "field": "name", "old": "Hacked acme/a", "new": "A"} in drift["fields"]
        await acme.aclose()


async def test_who_does_not_read_is_owed_little() -> None:
    """A full queue drops what is oldest, and holds up nobody."""
    from agentsd.runtime.follower.run_feed import QUEUE_MAX, RunEvent, _put_event

    queue: asyncio.Queue[RunEvent] = asyncio.Queue(QUEUE_MAX)
    for number in range(QUEUE_MAX + 5):
        _put_event(queue, RunEvent(owners=frozenset({str(number)})))
    assert queue.get_nowait().owners == {"5"}
    with suppress(asyncio.QueueEmpty):
        while True:
            last = queue.get_nowait()
    assert last.owners == {str(QUEUE_MAX + 4)}
