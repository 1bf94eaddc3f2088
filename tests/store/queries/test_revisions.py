"""What became of agents: by slug or id, renamed and deleted ones too."""

from __future__ import annotations

from dataclasses import replace

from agentsd.store.database import Database
from agentsd.store.queries.revisions import RevisionSummary, load_revision_summaries
from agentsd.store.queries.runs import SyncRun, record_run
from tests.store.queries.test_records import STARTED
from tests.store.sample import change, manifest, plan_of, stamp, stored, write


async def steps(database: Database, **options: object) -> list[RevisionSummary]:
    async with database.transaction(snapshot=True) as connection:
        return await load_revision_summaries(connection, limit=50, **options)  # type: ignore[arg-type]


def told(found: list[RevisionSummary]) -> list[tuple[int, str, str]]:
    return [(step.version, step.operation, step.slug) for step in found]


async def test_every_step_of_every_agent(database: Database) -> None:
    """Newest first, each with the digest before it and what started its sync."""
    first, other = manifest("a.yaml"), manifest("acme/b.yaml")
    given = stamp()
    await write(database, plan_of([change("create", first), change("create", other)]), given)
    second = manifest("a.yaml", id=first.id, prompt="Be brief.")
    await write(database, plan_of([change("update", second)]))
    async with database.transaction() as connection:
        await record_run(
            connection, SyncRun(given.run_id, "main", "watch", "applied", STARTED, 1, None, 1, {})
        )
    found = await steps(database)
    assert told(found) == [(2, "update", "a"), (1, "create", "a"), (1, "create", "acme/b")]
    newest, oldest, _ = found
    assert (newest.previous, newest.digest) == (first.digest, second.digest)
    assert (oldest.previous, oldest.trigger, newest.trigger) == (None, "watch", None)
    assert [step.owner for step in found] == ["default", "default", "acme"]


async def test_one_agent_under_all_of_its_names(database: Database) -> None:
    """By its present slug, an older one, or its id: also once it is deleted."""
    one, other = manifest("old.yaml"), manifest("b.yaml")
    await write(database, plan_of([change("create", one), change("create", other)]))
    moved = manifest("new.yaml", id=one.id)
    was = (await stored(database)).agents[one.id]
    await write(database, plan_of([change("rename", moved, was)]))
    expected = [(2, "rename", "new"), (1, "create", "old")]
    assert told(await steps(database, slug="new")) == expected
    assert told(await steps(database, slug="old")) == expected
    await write(database, plan_of([change("delete", moved, replace(was, slug="new"))]))
    expected = [(3, "delete", "new"), *expected]
    assert told(await steps(database, slug="new")) == expected
    assert told(await steps(database, agent_id=one.id)) == expected
    assert await steps(database, slug="never") == []


async def test_a_slug_that_another_agent_had_before(database: Database) -> None:
    """The holder's whole history, and what another was while it bore the name."""
    one, two = manifest("a.yaml"), manifest("a.yaml")
    await write(database, plan_of([change("create", one)]))
    await write(database, plan_of([change("delete", one, (await stored(database)).agents[one.id])]))
    await write(database, plan_of([change("create", two)]))
    assert [step.agent_id for step in await steps(database, slug="a")] == [two.id, one.id, one.id]
