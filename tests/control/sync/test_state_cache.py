"""A remembering reconciler decides what one without a memory would."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.control.place import Place, echo, make_checker, operations
from tests.runtime.world import Keys

START = {
    "_user.yaml": "email: root@example.org\n",
    "a.yaml": echo(1, extra="default: true\n"),
    "b.yaml": echo(2),
    "c.yaml": echo(3, extra="active: false\n"),
    "acme/_defaults.yaml": "greeting: Welcome.\n",
    "acme/d.yaml": echo(4),
    "acme/e.yaml": "name: Without an id\nllm:\n  provider: echo.local\n",
}

CHANGES: dict[str, Mapping[str, str | None]] = {
    "one edit": {"b.yaml": echo(2, reply="other")},
    "edits of several owners": {"a.yaml": echo(1, reply="x"), "acme/d.yaml": echo(4, reply="y")},
    "an edit of a file with a warning": {"acme/e.yaml": "name: Other\nllm:\n  provider: echo.local\n"},
    "a default given up": {"a.yaml": echo(1)},
    "a default moved": {"a.yaml": echo(1), "b.yaml": echo(2, extra="default: true\n")},
    "a default claimed twice": {"b.yaml": echo(2, extra="default: true\n")},
    "an id exchanged": {"b.yaml": echo(9)},
    "an id taken": {"b.yaml": echo(1)},
    "suspended": {"b.yaml": echo(2, extra="active: false\n")},
    "broken": {"b.yaml": "x: ["},
    "a new file": {"f.yaml": echo(6)},
    "a file removed": {"b.yaml": None},
    "renamed": {"b.yaml": None, "g.yaml": echo(2)},
    "an owner's email": {"_user.yaml": "email: other@example.org\n"},
    "an owner's last agents removed": {"acme/d.yaml": None, "acme/e.yaml": None},
    "a layer edited": {"acme/_defaults.yaml": "greeting: Hello.\n"},
    "a layer that changes nothing": {"acme/_defaults.yaml": "greeting: Welcome.\n# as before\n"},
    "a layer broken": {"acme/_defaults.yaml": "greting: Hello.\n"},
    "a layer removed": {"acme/_defaults.yaml": None},
    "a layer at the top": {"_defaults.yaml": "language: en\n"},
    "a layer that suspends": {"acme/_defaults.yaml": "active: false\n"},
    "a layer and a manifest on it": {
        "acme/_defaults.yaml": "greeting: Hello.\n",
        "acme/d.yaml": echo(4, reply="z"),
    },
    "a manifest on a layer": {"acme/d.yaml": echo(4, reply="z")},
    "only touched": {"b.yaml": echo(2)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_memory_changes_no_decision(place: Place, keys: Keys, change: Mapping[str, str | None]) -> None:
    """After a change, and after another edit on top of it: the same plan, counts and conditions."""
    await place.sync(START)
    for files in (change, {"a.yaml": echo(1, reply="again", extra="default: true\n")}):
        place.write(files)
        forgetful = await place.again(make_checker(keys)).plan(strict=False)
        done = await place.sync(strict=False)
        assert operations(done) == operations(forgetful)
        assert done.plan.unchanged == forgetful.plan.unchanged
        assert done.plan.users == forgetful.plan.users
        assert done.plan.quarantined == forgetful.plan.quarantined
        assert done.suspended == forgetful.suspended
        after = await place.again(make_checker(keys)).plan(strict=False)
        assert after.plan.empty


async def test_a_store_that_lost_everything_is_filled_again(place: Place) -> None:
    """What is remembered of stored files is worth nothing once their rows are gone."""
    await place.sync(START)
    await place.sync({"b.yaml": echo(2, reply="other")})
    await place.execute("TRUNCATE agents, documents, agent_revisions, seals, users, versions CASCADE")
    outcome = await place.sync()
    assert {operation for operation, _ in operations(outcome)} == {"create"}
    assert await place.slugs() == {"a", "b", "c", "acme/d", "acme/e"}


async def test_a_row_changed_by_others_is_seen(place: Place, keys: Keys) -> None:
    """Another process's apply moves the head, and then an edit is decided on what is there now."""
    await place.sync(START)
    await place.again(make_checker(keys)).sync({"a.yaml": echo(1)})
    outcome = await place.sync({"b.yaml": echo(2, reply="other", extra="default: true\n")})
    assert operations(outcome) == {("update", "b")}
    assert (await place.again(make_checker(keys)).plan()).plan.empty


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_sync_applies_its_preview(place: Place, keys: Keys, change: Mapping[str, str | None]) -> None:
    """After a preview of the same files: the same plan, nothing left to do, and a memory that agrees."""
    await place.sync(START)
    for files in (change, {"a.yaml": echo(1, reply="again", extra="default: true\n")}):
        place.write(files)
        shown = await place.plan(strict=False)
        done = await place.sync(strict=False)
        assert (done.plan.changes, done.plan.quarantined) == (shown.plan.changes, shown.plan.quarantined)
        assert (done.head is None) is shown.plan.empty
        forgetful = await place.again(make_checker(keys)).plan(strict=False)
        assert forgetful.plan.empty
        assert forgetful.plan.quarantined == done.plan.quarantined
        assert (await place.sync(strict=False)).head is None


async def test_a_preview_of_other_files_is_not_applied(place: Place) -> None:
    """A file that changes after the preview, and one that comes, are decided on as they are."""
    await place.sync(START)
    place.write({"b.yaml": echo(2, reply="first")})
    await place.plan()
    await place.sync({"b.yaml": echo(2, reply="second"), "f.yaml": echo(6)})
    stored = (await place.stored()).agents.values()
    assert {row.path for row in stored} == {
        f"{name}.yaml" for name in ("a", "b", "c", "f", "acme/d", "acme/e")
    }
    assert (await place.plan()).plan.empty
    place.write({"b.yaml": echo(2, reply="third")})
    await place.plan()
    assert operations(await place.sync({"b.yaml": echo(2, reply="second")})) == set()


async def test_a_preview_of_other_options_is_not_applied(place: Place) -> None:
    """What a preview deletes on request is not deleted by a sync that nobody asked for it."""
    await place.sync(START)
    gone = next(row.id for row in (await place.stored()).agents.values() if row.slug == "b")
    place.write({"b.yaml": None, "bad.yaml": "x: ["})
    shown = await place.plan(strict=False, explicit=frozenset({gone}))
    assert operations(shown) == {("delete", "b")}
    assert operations(await place.sync(strict=False)) == set()
    shown = await place.plan(strict=False, explicit=frozenset({gone}))
    assert operations(await place.sync(strict=False, explicit=frozenset({gone}))) == {("delete", "b")}


async def test_a_preview_of_another_store_is_not_applied(place: Place, keys: Keys) -> None:
    """Where another process applies something in between, the sync decides anew."""
    await place.sync(START)
    place.write({"b.yaml": echo(2, extra="default: true\n"), "a.yaml": echo(1)})
    shown = await place.plan()
    assert operations(shown) == {("update", "a"), ("update", "b")}
    await place.again(make_checker(keys)).sync()
    done = await place.sync()
    assert operations(done) == set()
    assert done.head is None
