"""The plan, example by example."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentsd.core.manifest.agent import Manifest
from agentsd.core.manifest.user import StoredUser
from agentsd.core.plan.plan import (
    StoredState,
    apply_to_stored,
    count_deletions_by_owner,
    count_mass_deletions,
    diff_documents,
    make_plan,
)
from tests.core.values import (
    CHECKED,
    EMPTY,
    desired,
    edited,
    manifest,
    sealed,
    stored_of,
    sync,
    user,
    with_values,
)

ID = "11111111-1111-4111-8111-111111111111"


def operations(stored: StoredState, *args: object, **options: bool) -> list[tuple[str, str]]:
    decided = make_plan(desired(*args), stored, source="main", **options)  # type: ignore[arg-type]
    return [(change.operation, change.slug) for change in decided.changes]


def test_a_first_sync_creates() -> None:
    """Everything that only the files have is created, in the order of slugs."""
    assert operations(EMPTY, manifest("b.yaml"), manifest("acme/a.yaml")) == [
        ("create", "acme/a"),
        ("create", "b"),
    ]


def test_the_same_files_change_nothing() -> None:
    """A plan of what is stored already is empty."""
    one = manifest("a.yaml")
    decided = make_plan(desired(one), stored_of(one), source="main")
    assert decided.empty
    assert decided.unchanged == 1
    assert decided.rechecked == ()


def test_an_edit_is_an_update_with_its_fields() -> None:
    """An update names each field that differs, old and new."""
    old, new = manifest("a.yaml", "old", name="A"), manifest("a.yaml", "new", llm={"model": "m"})
    (change,) = make_plan(desired(new), with_values(stored_of(old), old), source="main").changes
    assert change.operation == "update"
    assert [(f.operation, f.pointer, f.old, f.new) for f in change.fields] == [
        ("change", ("system_prompt",), "old", "new"),
        ("add", ("llm", "model"), None, "m"),
        ("remove", ("name",), "A", None),
    ]


def test_a_rename_keeps_the_id() -> None:
    """A manifest that moves with its id is one agent with a new name."""
    old, new = manifest("a.yaml", id=ID), manifest("acme/b.yaml", id=ID)
    decided, after = sync(stored_of(old), desired(new))
    (change,) = decided.changes
    assert change.operation == "rename"
    assert change.stored is not None
    assert (change.stored.slug, change.slug, change.owner) == ("a", "acme/b", "acme")
    assert [row.slug for row in after.agents.values()] == ["acme/b"]


def test_a_new_suffix_is_an_update() -> None:
    """``a.yaml`` → ``a.yml``: the same name, so no rename; but the path is on record."""
    assert operations(stored_of(manifest("a.yaml", id=ID)), manifest("a.yml", id=ID)) == [("update", "a")]


def test_a_missing_file_is_a_delete_unless_prune_is_off() -> None:
    """Only pruning deletes."""
    stored = stored_of(manifest("a.yaml"), manifest("b.yaml"))
    assert operations(stored, manifest("a.yaml")) == [("delete", "b")]
    assert operations(stored, manifest("a.yaml"), prune=False) == []


def test_sources_are_apart() -> None:
    """A source never touches, counts or prunes another one's rows."""
    mine, theirs = manifest("a.yaml"), manifest("b.yaml")
    stored = sync(stored_of(theirs, source="other"), desired(mine))[1]
    decided, after = sync(stored, desired(manifest("c.yaml")))
    assert {(c.operation, c.slug) for c in decided.changes} == {("create", "c"), ("delete", "a")}
    assert {row.slug for row in after.agents.values()} == {"b", "c"}


def test_nothing_is_pruned_while_a_file_is_quarantined() -> None:
    """The row of a bad file stays, and so does everything else that seems to be gone."""
    stored = stored_of(manifest("a.yaml"), manifest("b.yaml"), manifest("c.yaml"))
    decided = make_plan(desired(manifest("a.yaml"), bad=["b.yaml"]), stored, source="main")
    assert decided.changes == ()
    assert decided.held_back == ("c",)
    assert [q.path for q in decided.quarantined] == ["b.yaml"]


def test_a_quarantine_holds_up_its_own_owner_only() -> None:
    """A broken file of beta stops no deletion of acme; a folder that cannot be read stops all of them."""
    stored = stored_of(manifest("acme/a.yaml"), manifest("acme/b.yaml"), manifest("beta/b.yaml"))
    wanted = [manifest("acme/a.yaml")]
    decided = make_plan(desired(*wanted, bad=["beta/x.yaml"]), stored, source="main")
    assert [(c.operation, c.slug) for c in decided.changes] == [("delete", "acme/b")]
    assert decided.held_back == ("beta/b",)
    for unread in ("", "../envs/prod/"):
        decided = make_plan(desired(*wanted, bad=[unread]), stored, source="main")
        assert decided.changes == ()
        assert decided.held_back == ("acme/b", "beta/b")


def owned(owner: str, count: int) -> list[Manifest]:
    """So many agents of an owner."""
    return [manifest(f"{owner}/a{number}.yaml") for number in range(count)]


@pytest.mark.parametrize(
    ("left", "found"),
    [
        ([*owned("acme", 3), *owned("beta", 9)], {"acme": 6}),  # five, and more than half of acme's
        (owned("beta", 9), {"acme": 9}),  # the whole folder
        ([*owned("acme", 5), *owned("beta", 9)], {}),
        ([*owned("acme", 9), *owned("beta", 2)], {"beta": 7}),
        ([*owned("acme", 3), *owned("beta", 4)], {"acme": 6, "beta": 5}),
        ([], {"acme": 9, "beta": 9}),
    ],
)
def test_mass_deletions_are_told_by_owner(left: list[Manifest], found: dict[str, int]) -> None:
    """What one owner loses does not count against another."""
    stored = stored_of(*owned("acme", 9), *owned("beta", 9))
    assert count_deletions_by_owner(make_plan(desired(*left), stored, source="main"), stored) == found


def test_small_owners_that_go_together_are_an_accident() -> None:
    """No owner alone would be held."""
    stored = stored_of(*(manifest(f"o{number}/a.yaml") for number in range(9)))
    left = [manifest(f"o{number}/a.yaml") for number in range(3)]
    assert len(count_deletions_by_owner(make_plan(desired(*left), stored, source="main"), stored)) == 6


def test_drift_is_healed_once() -> None:
    """A row that was edited by hand is written again, and then it is in order."""
    one = manifest("a.yaml")
    stored = stored_of(one)
    stored = edited(stored, stored.agents[one.id], drifted=True)
    decided, after = sync(stored, desired(one))
    assert [change.operation for change in decided.changes] == ["heal"]
    assert make_plan(desired(one), after, source="main").empty


def test_other_rules_only_mark_what_is_unchanged() -> None:
    """A manifest that was checked by other rules, or verified only now, is noted without a change."""
    one = manifest("a.yaml")
    stored = stored_of(one)
    for before in ({"checked": b"other"}, {"verified": False}):
        earlier = edited(stored, stored.agents[one.id], **before)
        decided = make_plan(desired(one), earlier, source="main")
        assert decided.empty
        assert decided.rechecked == (one,)
        after = apply_to_stored(earlier, decided, earlier.version, CHECKED)
        assert make_plan(desired(one), after, source="main").rechecked == ()


def test_the_default_moves_in_one_plan() -> None:
    """Two updates, whichever order the files come in."""
    before = [manifest("a.yaml", default=True), manifest("b.yaml")]
    after = [manifest("b.yaml", default=True), manifest("a.yaml")]
    decided, stored = sync(stored_of(*before), desired(*after))
    assert [(c.operation, c.slug) for c in decided.changes] == [("update", "a"), ("update", "b")]
    assert [row.slug for row in stored.agents.values() if row.is_default] == ["b"]


def test_users_come_change_and_go() -> None:
    """An owner's file is created, changed and, with its last manifest, tombstoned."""
    one, file = manifest("acme/a.yaml"), user("acme/_user.yaml", "a@acme.example")
    first, stored = sync(EMPTY, desired(one, users=[file]))
    assert [(u.operation, u.username) for u in first.users] == [("create", "acme")]
    second, stored = sync(stored, desired(one))
    assert [(u.operation, u.username) for u in second.users] == [("update", "acme")]
    assert stored.users["acme"].email is None
    third, stored = sync(stored, desired(manifest("b.yaml")))
    assert ("delete", "acme") in {(u.operation, u.username) for u in third.users}


def test_a_bad_user_file_keeps_the_owner_as_it_was() -> None:
    """A quarantined ``_user.yaml`` must not wipe its owner's email and tokens."""
    one, file = manifest("acme/a.yaml"), user("acme/_user.yaml", "a@acme.example")
    stored = stored_of(one, users=[file])
    assert make_plan(desired(one, bad=["acme/_user.yaml"]), stored, source="main").users == ()


def test_an_owner_with_agents_of_another_source_stays() -> None:
    """A source prunes an owner only when no other source has agents of it."""
    stored = stored_of(manifest("acme/a.yaml"))
    stored = edited(stored, next(iter(stored.agents.values())), source="other")
    assert make_plan(desired(), stored, source="main").users == ()


def test_a_user_file_takes_over_an_owner_without_one() -> None:
    """Another source may have made the owner by its manifests; the file's source has the word."""
    stored = stored_of(manifest("acme/a.yaml"), source="other")
    decided = make_plan(desired(users=[user("acme/_user.yaml", "a@b.example")]), stored, source="main")
    assert [(u.operation, u.username) for u in decided.users] == [("update", "acme")]
    row = StoredUser(stored.users["acme"].id, "acme", None, "other", "acme/_user.yaml", b"x", 1)
    taken = replace(stored, users={"acme": row})
    assert make_plan(desired(users=[user("acme/_user.yaml")]), taken, source="main").users == ()


def test_a_secret_is_only_ever_changed_or_resealed() -> None:
    """No seal shows in a diff; "changed" needs fingerprints that differ."""
    pointer = ("llm", "api_key")
    old, new = {"llm": {"api_key": sealed("b2xk")}}, {"llm": {"api_key": sealed("bmV3")}}
    (unknown,) = diff_documents(old, new)
    (same,) = diff_documents(old, new, {pointer: b"1"}, {pointer: b"1"})
    (other,) = diff_documents(old, new, {pointer: b"1"}, {pointer: b"2"})
    assert [change.secret for change in (unknown, same, other)] == ["resealed", "resealed", "changed"]
    assert all(change.old is None and change.new is None for change in (unknown, same, other))


@pytest.mark.parametrize(
    ("old", "new", "operation"),
    [
        ({"a": "plain"}, {"a": sealed("eA==")}, "change"),
        ({"a": sealed("eA==")}, {"a": "plain"}, "change"),
        ({}, {"a": sealed("eA==")}, "add"),
        ({"a": sealed("eA==")}, {}, "remove"),
        ({"a": ["x", sealed("eA==")]}, {"a": ["y"]}, "change"),
    ],
)
def test_no_side_of_a_seal_shows(old: dict[str, object], new: dict[str, object], operation: str) -> None:
    """Also where only one side is sealed: the other may be the same secret in plain."""
    (change,) = diff_documents(old, new)
    assert (change.operation, change.old, change.new, change.secret) == (operation, None, None, "changed")


def test_the_sops_block_is_no_field() -> None:
    """Only at the root: a field called ``sops`` further down is a field."""
    assert diff_documents({"sops": {"mac": "1"}}, {"sops": {"mac": "2"}}) == ()
    assert len(diff_documents({"a": {"sops": 1}}, {"a": {"sops": 2}})) == 1


def test_a_type_is_a_difference() -> None:
    """``1`` and ``true`` and ``1.0`` are equal to Python, and not to a manifest."""
    assert len(diff_documents({"a": 1, "b": 1}, {"a": True, "b": 1.0})) == 2


@pytest.mark.parametrize(
    ("own", "kept", "new", "count"),
    [
        (1, 0, 0, 1),  # the folder is empty
        (1, 0, 1, 0),  # a rename without a pinned id
        (4, 0, 0, 4),
        (4, 1, 0, 0),
        (10, 5, 0, 0),  # five, and not more than half
        (9, 4, 0, 5),
        (9, 4, 9, 5),  # new ones do not make up for it
        (5, 0, 0, 5),
        (0, 0, 3, 0),
    ],
)
def test_mass_deletion(own: int, kept: int, new: int, count: int) -> None:
    """At least five and more than half, or all of them with nothing in their place."""
    rows = [manifest(f"a{i}.yaml") for i in range(own)]
    stored = sync(stored_of(*rows), desired(*(manifest(f"x{i}.yaml") for i in range(50))), source="other")[1]
    wanted = [*rows[:kept], *(manifest(f"n{i}.yaml") for i in range(new))]
    assert count_mass_deletions(make_plan(desired(*wanted), stored, source="main"), stored) == count
