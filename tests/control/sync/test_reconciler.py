"""Files → store, on a real Postgres."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from agentsd.control.sync.reconciler import Reconciler
from agentsd.core.errors import InvalidManifests, MassDeletion
from agentsd.store.queries import agents
from agentsd.store.queries.users import load_tokens
from tests.control.place import Place, echo, groq, make_checker, operations, uid
from tests.runtime.world import Keys

DEFAULT = "default: true\n"
A, B = "a" * 64, "b" * 64


def one(number: int) -> UUID:
    return UUID(uid(number))


async def test_create_update_delete(place: Place) -> None:
    """Each sync is one version; the counts and the fields are those of the files."""
    first = await place.sync({"a.yaml": echo(1), "acme/b.yaml": echo(2)})
    assert operations(first) == {("create", "a"), ("create", "acme/b")}
    assert first.head is not None
    second = await place.sync({"a.yaml": echo(1, reply="bye")})
    assert operations(second) == {("update", "a")}
    (field,) = second.plan.changes[0].fields
    assert (field.pointer, field.old, field.new) == (("llm", "reply"), "hello", "bye")
    third = await place.sync({"acme/b.yaml": None})
    assert operations(third) == {("delete", "acme/b")}
    assert third.head is not None
    assert third.head.version == first.head.version + 2
    assert await place.slugs() == {"a"}


async def test_a_rename_keeps_id_and_history(place: Place) -> None:
    """``git mv`` of a manifest with its id: the same agent, also under another owner."""
    await place.sync({"a.yaml": echo(1)})
    outcome = await place.sync({"a.yaml": None, "acme/b.yaml": echo(1)})
    assert operations(outcome) == {("rename", "acme/b")}
    (row,) = (await place.stored()).agents.values()
    assert (row.id, row.slug, row.owner) == (one(1), "acme/b", "acme")
    async with place.database.transaction(snapshot=True) as connection:
        history = await agents.load_revisions(connection, one(1))
    assert [revision.operation for revision in history] == ["rename", "create"]


async def test_names_may_be_swapped(place: Place) -> None:
    """Two agents that change places, in one transaction."""
    await place.sync({"a.yaml": echo(1), "b.yaml": echo(2)})
    outcome = await place.sync({"a.yaml": echo(2), "b.yaml": echo(1)})
    assert operations(outcome) == {("rename", "a"), ("rename", "b")}
    rows = (await place.stored()).agents
    assert (rows[one(1)].slug, rows[one(2)].slug) == ("b", "a")


async def test_the_default_moves(place: Place) -> None:
    """In either direction of names, and within one owner only."""
    await place.sync(
        {"a.yaml": echo(1, extra=DEFAULT), "b.yaml": echo(2), "acme/c.yaml": echo(3, extra=DEFAULT)}
    )
    await place.sync({"a.yaml": echo(1), "b.yaml": echo(2, extra=DEFAULT)})
    await place.sync({"a.yaml": echo(1, extra=DEFAULT), "b.yaml": echo(2)})
    defaults = {row.slug for row in (await place.stored()).agents.values() if row.is_default}
    assert defaults == {"a", "acme/c"}


async def test_a_no_op_spends_no_version(place: Place, keys: Keys) -> None:
    """Not in the same process, not in another one, and not when a file is only touched."""
    files = {"a.yaml": echo(1), "s.yaml": keys.seal(groq(2))}
    await place.sync(files)
    before = await place.stored()
    for fresh in (place, place.again(make_checker(keys)), place.again(make_checker(None))):
        outcome = await fresh.sync(files)
        assert outcome.head is None
        assert outcome.plan.empty
        assert outcome.plan.unchanged == 2
    assert await place.stored() == before


async def test_a_plan_writes_nothing(place: Place) -> None:
    """And says what a sync would do."""
    place.write({"a.yaml": echo(1)})
    outcome = await place.plan()
    assert operations(outcome) == {("create", "a")}
    assert outcome.head is None
    assert (await place.stored()).version == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE agents SET system_prompt = 'hacked'",
        "UPDATE agents SET slug = 'moved', name = 'x'",
        "UPDATE agents SET is_default = true, is_active = false",
        "UPDATE agents SET llm_provider_config = '{}'",
        "UPDATE agents SET path = 'elsewhere.yaml'",
    ],
)
async def test_a_hand_edit_is_healed(place: Place, keys: Keys, statement: str) -> None:
    """The file wins, the version grows so that every runtime sees it, and then it is quiet."""
    await place.sync({"a.yaml": echo(1), "b/c.yaml": echo(2)})
    before = await place.stored()
    await place.execute(f"{statement} WHERE slug = 'a'")
    fresh = place.again(make_checker(keys))
    outcome = await fresh.sync()
    assert {change.id for change in outcome.plan.changes} == {one(1)}
    after = await place.stored()
    assert after.version == before.version + 1
    assert replace(after.agents[one(1)], version=1, value=None) == before.agents[one(1)]
    assert not after.agents[one(1)].drifted
    assert (await fresh.sync()).head is None


async def test_a_daemon_sees_drift_when_it_looks_anew(place: Place) -> None:
    """What it remembers of the store holds until the head moves or it is told to forget."""
    await place.sync({"a.yaml": echo(1)})
    await place.execute("UPDATE agents SET name = 'x'")
    assert (await place.sync()).head is None
    place.reconciler.forget()
    assert operations(await place.sync()) == {("heal", "a")}


async def test_prune_touches_its_own_source_only(place: Place) -> None:
    """Two trees, one store."""
    await place.sync({"a.yaml": echo(1)}, source="other")
    outcome = await place.sync({"a.yaml": None, "b.yaml": echo(2)})
    assert operations(outcome) == {("create", "b")}
    assert await place.slugs() == {"a", "b"}
    with pytest.raises(InvalidManifests) as raised:
        await place.sync({"a.yaml": echo(3)})
    assert [(v.path, v.code) for v in raised.value.violations] == [("a.yaml", "source-conflict")]


async def test_without_prune_everything_stays(place: Place) -> None:
    """And a new agent cannot take the place of one that stays: said by name, not by the database."""
    await place.sync({"a.yaml": echo(1, extra=DEFAULT), "b.yaml": echo(2)})
    outcome = await place.sync({"b.yaml": None}, prune=False)
    assert outcome.plan.empty
    with pytest.raises(InvalidManifests) as raised:
        await place.sync({"a.yaml": echo(3), "c.yaml": echo(4, extra=DEFAULT)}, prune=False)
    assert {(v.path, v.code) for v in raised.value.violations} == {
        ("a.yaml", "place-taken"),
        ("c.yaml", "place-taken"),
    }
    assert await place.slugs() == {"a", "b"}


async def test_a_bad_file_holds_its_place(place: Place) -> None:
    """Its default is still the default while it is broken: who claims it waits, the rest goes on."""
    await place.sync({"a.yaml": echo(1, extra=DEFAULT), "b.yaml": echo(2)})
    broken = {"a.yaml": "not: [yaml", "b.yaml": echo(2, extra=DEFAULT), "a.yml": echo(4), "c.yaml": echo(3)}
    outcome = await place.sync(broken, strict=False)
    assert operations(outcome) == {("create", "c")}
    bad = {(q.path, q.violations[0].code) for q in outcome.plan.quarantined}
    assert bad == {("a.yaml", "yaml-syntax"), ("b.yaml", "place-taken"), ("a.yml", "place-taken")}
    outcome = await place.sync({"a.yaml": echo(1), "a.yml": None}, strict=False)
    assert operations(outcome) == {("update", "a"), ("update", "b")}
    assert outcome.plan.quarantined == ()


async def test_nothing_is_pruned_beside_a_bad_file(place: Place) -> None:
    """A file that is gone may be the one that is broken, under another name."""
    await place.sync({"a.yaml": echo(1), "b.yaml": echo(2)})
    outcome = await place.sync({"a.yaml": None, "b.yaml": "x: ["}, strict=False)
    assert outcome.head is None
    assert outcome.plan.held_back == ("a",)
    assert operations(await place.sync({"b.yaml": echo(2)}, strict=False)) == {("delete", "a")}


async def test_removing_many_is_refused(place: Place) -> None:
    """Before anything is touched; and done where it is meant."""
    await place.sync({f"a{n}.yaml": echo(n) for n in range(1, 9)})
    before = await place.stored()
    gone = dict.fromkeys((f"a{n}.yaml" for n in range(1, 6)), None)
    with pytest.raises(MassDeletion, match="5 agents of source 'main'"):
        await place.sync(gone)
    assert await place.stored() == before
    outcome = await place.sync(allow_mass_delete=True)
    assert len(outcome.plan.changes) == 5
    for file in place.root.glob("*.yaml"):
        file.unlink()
    with pytest.raises(MassDeletion, match="3 agents"):
        await place.sync()


async def test_a_mass_deletion_holds_up_its_own_owner_only(place: Place) -> None:
    """A daemon goes on with what others changed, names the owner, and does it once it is meant."""
    await place.sync(
        {f"acme/a{n}.yaml": echo(n) for n in range(1, 7)} | {"beta/b.yaml": echo(9), "c.yaml": echo(10)}
    )
    gone = dict.fromkeys((f"acme/a{n}.yaml" for n in range(1, 7)), None)
    outcome = await place.sync({**gone, "beta/b.yaml": echo(9, reply="new"), "c.yaml": None}, strict=False)
    assert operations(outcome) == {("update", "beta/b"), ("delete", "c")}
    (held,) = outcome.plan.quarantined
    assert (held.path, held.violations[0].code) == ("acme/", "mass-deletion")
    assert len(outcome.plan.held_back) == 6
    with pytest.raises(MassDeletion, match="6 agents"):
        await place.sync()
    outcome = await place.sync(strict=False, allow_mass_delete=True)
    assert len(outcome.plan.changes) == 6


async def test_a_token_is_its_first_owners(place: Place) -> None:
    """Whoever lists another's hash is refused by name; a row written by hand gets it neither."""

    def listed(name: str, sha256: str) -> str:
        return f"tokens:\n  - name: {name}\n    sha256: {sha256}\n    role: editor\n"

    async def holders() -> dict[str, list[str]]:
        async with place.database.transaction(snapshot=True) as connection:
            tokens = await load_tokens(connection)
        return {one.username: [str(token["sha256"]) for token in one.tokens] for one in tokens if one.tokens}

    await place.sync({"acme/_user.yaml": listed("ci", A), "beta/_user.yaml": listed("own", B)})
    outcome = await place.sync({"beta/_user.yaml": listed("theft", A)}, strict=False)
    ((violation,),) = [one.violations for one in outcome.plan.quarantined]
    assert (violation.code, violation.where) == ("token-reused", "beta/_user.yaml:3:13")
    assert await holders() == {"acme": [A], "beta": [B]}
    await place.sync({"acme/_user.yaml": listed("ci", "c" * 64)}, strict=False)  # acme revokes it
    outcome = await place.sync(strict=False)
    assert [one.path for one in outcome.plan.quarantined] == ["beta/_user.yaml"]
    await place.execute(
        "UPDATE users SET tokens = (SELECT tokens FROM users WHERE username = 'acme') WHERE username = 'beta'"
    )
    assert await holders() == {"acme": ["c" * 64]}


async def test_users_follow_their_files(place: Place) -> None:
    """An owner comes with its first agent or file, and goes with the last; a bad file changes nothing."""
    await place.sync({"acme/a.yaml": echo(1), "b.yaml": echo(2)})
    assert (await place.stored()).users["acme"].email is None
    first = await place.sync({"acme/_user.yaml": "email: a@acme.example\n"})
    assert first.head is not None
    assert (await place.stored()).users["acme"].email == "a@acme.example"
    await place.sync({"acme/_user.yaml": "email: 7\n"}, strict=False)
    assert (await place.stored()).users["acme"].email == "a@acme.example"
    await place.sync({"acme/_user.yaml": None, "acme/a.yaml": None})
    assert (await place.stored()).users.keys() == {"default"}


async def test_emails_may_be_swapped(place: Place) -> None:
    """A unique index is checked row by row; a swap is still one sync."""
    await place.sync({"a/_user.yaml": "email: a@x.example\n", "b/_user.yaml": "email: b@x.example\n"})
    await place.sync({"a/_user.yaml": "email: b@x.example\n", "b/_user.yaml": "email: a@x.example\n"})
    users = (await place.stored()).users
    assert (users["a"].email, users["b"].email) == ("b@x.example", "a@x.example")


async def test_two_processes_do_not_overwrite_what_they_saw(place: Place, keys: Keys) -> None:
    """Each plans under the lock, against what the other one left; both end at the same state."""
    other = place.again(make_checker(keys))
    await place.sync({"a.yaml": echo(1), "b.yaml": echo(2)})
    await other.sync({"a.yaml": echo(1, reply="other")})
    outcome = await place.sync({"b.yaml": echo(2, reply="ours")})
    assert operations(outcome) == {("update", "b")}
    assert operations(await place.sync({"a.yaml": echo(1)})) == {("update", "a")}
    assert (await other.sync()).plan.empty


async def test_progress_ends_at_the_total(place: Place) -> None:
    """A bar that is full at the end."""
    place.write({f"a{n}.yaml": echo(n) for n in range(1, 4)})
    seen: list[tuple[int, int]] = []
    await Reconciler(make_checker(None), place.database).plan(
        place.tree(), place.options, lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (3, 3)


async def test_suspended_agents_are_named(place: Place) -> None:
    """``active: false`` is a condition, unless the file is set aside for something else."""
    files = {"a.yaml": echo(1, extra="active: false\n"), "b.yaml": echo(1, extra="active: false\n")}
    assert (await place.sync(files, strict=False)).suspended == ("a.yaml",)
