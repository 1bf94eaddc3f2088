"""Applying plans: what is written, what is kept, and what the next reader sees."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from agentsd.core.errors import StoreRefused
from agentsd.core.manifest.user import User
from agentsd.core.names import derive_agent_id, derive_user_id
from agentsd.core.plan.plan import Plan, UserChange
from agentsd.store.database import Database
from agentsd.store.queries.agents import (
    Head,
    apply_plan,
    is_in_history,
    load_all,
    load_changed,
    load_documents,
    load_head,
    load_revisions,
    load_seal_owners,
    load_stored,
    lock_applies,
)
from agentsd.store.queries.rule_digests import mark_checked
from agentsd.store.queries.users import load_tokens, load_users
from tests.store.sample import CHECKED, SEALED, change, manifest, plan_of, stamp, stored, write

OTHER_CHECK = b"\x01" * 32


async def test_a_created_agent_can_be_read_in_every_way(database: Database) -> None:
    """Row, document, seal, revision and owner are there after one apply, under one version."""
    agent = manifest("acme/sales.yaml", default=True)
    given = stamp()
    at = await write(database, plan_of([change("create", agent)]), given)
    async with database.transaction(snapshot=True) as connection:
        loaded = await load_all(connection)
        held = await load_stored(connection, "main")
        documents = await load_documents(connection, [agent.id, uuid4()])
        seals = await load_seal_owners(connection, [*agent.seals, b"unknown"])
        (revision,) = await load_revisions(connection, agent.id)
    (row,) = loaded.rows
    assert loaded.head == at
    assert (row.slug, row.owner, row.name, row.version) == ("acme/sales", "acme", "acme/sales", at.version)
    assert (row.data, row.digest, row.commit) == (agent.data, agent.digest, given.commit)
    assert (row.is_default, row.is_active, row.deleted) == (True, True, False)
    assert documents == {agent.id: agent.data}
    assert seals == dict.fromkeys(agent.seals, "acme")
    assert (revision.operation, revision.run_id, revision.data) == ("create", given.run_id, agent.data)
    assert (held.version, held.commit) == (at.version, given.commit)
    assert not held.agents[agent.id].drifted
    assert held.agents[agent.id].checked == CHECKED
    assert held.users["acme"].id == derive_user_id("acme")


async def test_columns_for_sql_readers_hold_the_seal_and_never_null(
    database: Database, database_url: str
) -> None:
    """The JSON columns are the manifest's sections with sealed strings in place; absent ones are {}."""
    await write(database, plan_of([change("create", manifest("support.yaml"))]))
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT llm_provider_config, tts_provider_config, stt_provider_config, rag_config, system_prompt"
            " FROM agents"
        ).fetchone()
    assert row is not None
    assert row[0] == {"provider": "groq.com", "api_key": SEALED, "model": "llama-3.1-8b-instant"}
    assert row[1:] == ({}, {}, {}, "Be kind.")


async def test_one_version_for_all_and_only_what_changed_is_loaded(database: Database) -> None:
    """A reader that has seen a version gets the rows touched since; tombstones have no document."""
    one, two, three = (manifest(f"{name}.yaml") for name in ("one", "two", "three"))
    first = await write(database, plan_of([change("create", a) for a in (one, two, three)]))
    edited = manifest("two.yaml", id=two.id, prompt="Be brief.")
    second = await write(database, plan_of([change("update", edited), change("delete", three)]))
    assert second.version == first.version + 1
    async with database.transaction(snapshot=True) as connection:
        loaded = await load_changed(connection, first.version)
        everything = await load_all(connection)
        nothing = await load_changed(connection, second.version)
        history = await load_revisions(connection, three.id)
        page = await load_revisions(connection, three.id, limit=1, before=history[0].version)
    assert {(row.slug, row.deleted) for row in loaded.rows} == {("two", False), ("three", True)}
    assert next(row for row in loaded.rows if row.deleted).data == b""
    assert [row.slug for row in everything.rows] == ["one", "two"]
    assert nothing.rows == ()
    assert [r.operation for r in history] == ["delete", "create"]
    assert page == history[1:]


async def test_a_rename_keeps_the_id_and_the_date_of_birth(database: Database) -> None:
    """The slug moves, also to another owner; the agent stays the same one."""
    agent = manifest("sales.yaml")
    await write(database, plan_of([change("create", agent)]))
    async with database.transaction() as connection:
        (born,) = (await load_all(connection)).rows
    await write(database, plan_of([change("rename", manifest("acme/sales.yaml", id=agent.id))]))
    async with database.transaction() as connection:
        (row,) = (await load_all(connection)).rows
    assert (row.id, row.slug, row.owner) == (agent.id, "acme/sales", "acme")
    assert row.created_at == born.created_at
    assert row.updated_at > born.updated_at


async def test_a_deleted_agent_comes_back_under_its_id(database: Database) -> None:
    """Create, delete, create: one row, three revisions."""
    agent = manifest("sales.yaml", default=True)
    for operation in ("create", "delete", "create"):
        await write(database, plan_of([change(operation, agent)]))  # type: ignore[arg-type]
    async with database.transaction() as connection:
        (row,) = (await load_all(connection)).rows
        history = await load_revisions(connection, agent.id)
    assert (row.id, row.is_default) == (agent.id, True)
    assert [r.operation for r in history] == ["create", "delete", "create"]


async def test_heads_tell_histories_apart(database: Database) -> None:
    """A head is known only if its number and its stamp are in this history; an empty store has a head too."""
    async with database.transaction() as connection:
        start = await load_head(connection)
        assert start.version == 0
        assert await is_in_history(connection, start)
    later = await write(database, plan_of([change("create", manifest("a.yaml"))]))
    async with database.transaction() as connection:
        assert await is_in_history(connection, start)
        assert await is_in_history(connection, later)
        assert not await is_in_history(connection, Head(later.version, uuid4()))
        assert not await is_in_history(connection, Head(later.version + 1, later.stamp))


async def test_an_empty_plan_is_a_bug_of_the_caller(database: Database) -> None:
    """It must not spend a version."""
    with pytest.raises(ValueError, match="empty"):
        await write(database, plan_of([]))


async def test_a_failure_leaves_nothing_behind(database: Database) -> None:
    """Two agents that claim one slug: the database refuses, and no row, version or owner remains."""
    both = [change("create", manifest("acme/a.yaml")), change("create", manifest("acme/a.yaml"))]
    with pytest.raises(StoreRefused, match="share a slug"):
        await write(database, plan_of(both))
    now = await stored(database)
    assert (now.version, now.agents, now.users) == (0, {}, {})


async def test_a_hand_edit_shows_as_drift_and_a_heal_undoes_it(database: Database, database_url: str) -> None:
    """Without the file's bytes at hand, the row is rebuilt from the stored document, and gets a version."""
    agent = manifest("support.yaml")
    await write(database, plan_of([change("create", agent)]))
    async with database.transaction() as connection:
        before = (await load_all(connection)).rows[0]
    for edit in (
        "system_prompt = 'Be rude.'",
        'llm_provider_config = llm_provider_config || \'{"api_url": "https://evil.example"}\'',
        "slug = 'other', is_default = true",
        "is_active = false",
        "verified = NOT verified",
    ):
        with psycopg.connect(database_url) as connection:
            connection.execute(f"UPDATE agents SET {edit}")  # noqa: S608
        drifted = (await stored(database)).agents[agent.id]
        assert drifted.drifted, edit
        # All that a keyless sync knows of an unread file is the row, which is what was edited.
        unread = replace(agent, value=None, data=None, slug=drifted.slug, default=drifted.is_default)
        at = await write(database, plan_of([change("heal", unread, drifted)]))
        now = (await stored(database)).agents[agent.id]
        assert not now.drifted
        assert not now.verified  # somebody may have written that by hand as well
        assert now.version == at.version
        async with database.transaction() as healed:
            (row,) = (await load_all(healed)).rows
        assert replace(row, version=0, updated_at=before.updated_at) == replace(before, version=0)


async def test_a_heal_without_its_document_says_what_to_do(database: Database, database_url: str) -> None:
    """When the stored document itself was edited, only the file can bring it back; and it does."""
    agent = manifest("support.yaml")
    await write(database, plan_of([change("create", agent)]))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE documents SET data = 'name: evil'")
        connection.execute("UPDATE agents SET name = 'evil'")
    with pytest.raises(StoreRefused, match="changed by hand"):
        await write(database, plan_of([change("heal", replace(agent, value=None, data=None))]))
    await write(database, plan_of([change("heal", agent)]))
    async with database.transaction() as connection:
        assert await load_documents(connection, [agent.id]) == {agent.id: agent.data}


async def test_a_recheck_spends_no_version(database: Database, database_url: str) -> None:
    """New rules or a new key mark the rows; they do not drift, and one that was edited still shows it."""
    good, edited = manifest("good.yaml"), manifest("edited.yaml")
    at = await write(database, plan_of([change("create", a) for a in (good, edited)]))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE agents SET name = 'evil' WHERE slug = 'edited'")
    async with database.transaction() as connection:
        await mark_checked(connection, [replace(a, verified=False) for a in (good, edited)], OTHER_CHECK)
    now = await stored(database)
    assert now.version == at.version
    assert (now.agents[good.id].checked, now.agents[good.id].verified) == (OTHER_CHECK, False)
    assert not now.agents[good.id].drifted
    assert now.agents[edited.id].drifted


async def test_users_move_emails_and_are_only_tombstoned(database: Database, database_url: str) -> None:
    """Two owners swap their emails; one goes and comes back with the same id."""

    def user(name: str, email: str | None) -> User:
        tokens = ({"name": "ci", "sha256": name * 64, "role": "viewer"},)
        return User(
            derive_user_id(name), name, email, tokens, f"{name}/_user.yaml", f"email: {email}".encode()
        )

    a, b = user("a", "one@example.org"), user("b", "two@example.org")
    await write(database, plan_of([], [UserChange("create", u.username, u) for u in (a, b)]))
    swapped = [user("a", "two@example.org"), user("b", "one@example.org")]
    await write(database, plan_of([], [UserChange("update", u.username, u) for u in swapped]))
    async with database.transaction() as connection:
        users = await load_users(connection)
        tokens = await load_tokens(connection)
    assert {name: row.email for name, row in users.items()} == {
        "a": "two@example.org",
        "b": "one@example.org",
    }
    assert users["a"].data == b"email: two@example.org"
    assert [(owner.username, len(owner.tokens)) for owner in tokens] == [("a", 1), ("b", 1)]
    await write(database, plan_of([], [UserChange("delete", "a", None, users["a"])]))
    assert set((await stored(database)).users) == {"b"}
    with psycopg.connect(database_url) as raw:
        assert raw.execute("SELECT count(*) FROM users").fetchone() == (2,)
    await write(database, plan_of([change("create", manifest("a/x.yaml"))]))
    again = (await stored(database)).users["a"]
    assert (again.id, again.email) == (derive_user_id("a"), None)


async def test_applies_run_one_after_the_other(database: Database) -> None:
    """The second waits for the first, loads after it, and so gets the next version and an empty plan."""
    agent = manifest("a.yaml", id=derive_agent_id("a"))
    order: list[str] = []
    locked = asyncio.Event()

    async def sync(name: str, release: asyncio.Event) -> Plan:
        async with database.transaction() as connection:
            await lock_applies(connection)
            order.append(f"{name} in")
            locked.set()
            await release.wait()
            held = await load_stored(connection, "main")
            todo = plan_of([] if agent.id in held.agents else [change("create", agent)])
            if not todo.empty:
                await apply_plan(connection, todo, stamp=stamp())
            order.append(f"{name} out")
            return todo

    first_may, second_may = asyncio.Event(), asyncio.Event()
    second_may.set()
    first = asyncio.create_task(sync("first", first_may))
    await locked.wait()
    second = asyncio.create_task(sync("second", second_may))
    await _waiting_for_the_lock(database)
    first_may.set()
    assert not (await first).empty
    assert (await second).empty
    assert order == ["first in", "first out", "second in", "second out"]
    assert (await stored(database)).version == 1


async def _waiting_for_the_lock(database: Database) -> None:
    while True:
        async with database.transaction() as connection:
            cursor = await connection.execute(
                "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            if await cursor.fetchone() is not None:
                return
        await asyncio.sleep(0.005)


async def test_ten_thousand_agents_in_one_transaction(database: Database) -> None:
    """More bytes than one statement's portion: all rows, one version."""
    agents = [manifest(f"o{i % 7}/a{i}.yaml", prompt="x" * 2000) for i in range(10_000)]
    at = await write(database, plan_of([change("create", agent) for agent in agents]))
    async with database.transaction(snapshot=True) as connection:
        rows = (await load_all(connection)).rows
    assert {row.id: row.data for row in rows} == {agent.id: agent.data for agent in agents}
    assert {row.version for row in rows} == {at.version} == {1}


async def test_two_sources_share_a_store(database: Database) -> None:
    """Each has its own last commit; both see all rows."""
    await write(database, plan_of([change("create", manifest("a.yaml"))], source="one"), stamp("111"))
    await write(database, plan_of([change("create", manifest("b.yaml"))], source="two"), stamp("222"))
    one, two, none = [await stored(database, name) for name in ("one", "two", "three")]
    assert (one.commit, two.commit, none.commit) == ("111", "222", None)
    assert {row.source for row in one.agents.values()} == {"one", "two"}
