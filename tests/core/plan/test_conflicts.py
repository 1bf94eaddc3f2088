"""Cross-file rules: the stored holder keeps its place, and no quarantine pulls another file down."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from agentsd.core.manifest.agent import Manifest
from agentsd.core.manifest.handoff import AgentLinks, HandoffLink
from agentsd.core.manifest.user import User
from agentsd.core.plan.conflicts import (
    find_conflicts,
    find_owner_conflicts,
    find_reused_seals,
    find_reused_tokens,
    find_user_conflicts,
)
from agentsd.core.plan.plan import Quarantined, StoredState
from tests.core.values import EMPTY, edited, manifest, stored_of, user

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def codes(found: list[Quarantined]) -> dict[str, list[str]]:
    return {q.path: [violation.code for violation in q.violations] for q in found}


def clash(*manifests: Manifest, stored: StoredState = EMPTY, prune: bool = True) -> dict[str, list[str]]:
    return codes(find_conflicts(manifests, stored.agents, "main", prune=prune))


def test_without_a_conflict_nothing_is_said() -> None:
    """Agents of different owners may each be the default."""
    assert clash(manifest("a.yaml", default=True), manifest("acme/a.yaml", default=True)) == {}


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (manifest("a.yaml", id=ONE), manifest("b.yaml", id=ONE), "id-duplicate"),
        (manifest("a.yaml", id=ONE), manifest("a.yml", id=TWO), "slug-duplicate"),
        (manifest("Sales.yaml", id=ONE), manifest("sales.yaml", id=TWO), "slug-case"),
        (manifest("a.yaml", default=True), manifest("b.yaml", default=True), "default-duplicate"),
    ],
)
def test_the_stored_holder_keeps_its_place(first: Manifest, second: Manifest, code: str) -> None:
    """Whoever is stored stays; among new ones, the first by path."""
    assert clash(first, second) == {second.path: [code]}
    assert clash(second, first) == {second.path: [code]}
    assert clash(first, second, stored=stored_of(second)) == {first.path: [code]}


def test_a_default_that_was_moved_by_half() -> None:
    """Both say default, one is the default now: the other one waits."""
    before = [manifest("a.yaml"), manifest("b.yaml", default=True)]
    both = [manifest("a.yaml", default=True), manifest("b.yaml", default=True)]
    assert clash(*both, stored=stored_of(*before)) == {"a.yaml": ["default-duplicate"]}


def test_a_violation_names_the_line_and_the_holder() -> None:
    """The clash is shown at the field that makes it."""
    (found,) = find_conflicts(
        [manifest("a.yaml", default=True), manifest("b.yaml", default=True)], {}, "main"
    )
    (violation,) = found.violations
    assert (violation.where, violation.pointer) == ("b.yaml:2:10", ("default",))
    assert "a.yaml" in violation.message
    assert violation.hint


@pytest.mark.parametrize("place", ["id", "slug", "case", "default"])
def test_another_source_keeps_what_it_has(place: str) -> None:
    """Its id, its name and its owner's default."""
    stored = stored_of(manifest("a.yaml", id=ONE, default=True), source="other")
    mine = {
        "id": manifest("b.yaml", id=ONE),
        "slug": manifest("a.yaml", id=TWO),
        "case": manifest("A.yaml", id=TWO),
        "default": manifest("b.yaml", id=TWO, default=True),
    }[place]
    assert clash(mine, stored=stored) == {mine.path: ["source-conflict"]}


@pytest.mark.parametrize(
    "new", [manifest("a.yml", id=TWO), manifest("b.yaml", default=True), manifest("A.yaml", id=TWO)]
)
def test_a_row_that_is_not_pruned_keeps_its_place(new: Manifest) -> None:
    """While a file is quarantined (or with --no-prune) its row stays, and the unique indexes with it."""
    stored = stored_of(manifest("a.yaml", id=ONE, default=True))
    assert clash(new, stored=stored, prune=False) == {new.path: ["place-taken"]}
    assert clash(new, stored=stored) == {}


def test_a_quarantine_may_cause_another() -> None:
    """What is set aside leaves its row standing, which may stand in another's way."""
    stored = stored_of(manifest("a.yaml", id=ONE), manifest("c.yaml", default=True))
    found = clash(
        manifest("b.yaml", id=ONE),  # a rename to a name that a copy claims as well
        manifest("x.yaml", id=ONE),
        manifest("a.yaml", id=TWO),  # in the place that the rename was to leave free
        manifest("c.yaml", default=True),
        stored=stored,
    )
    assert found == {"x.yaml": ["id-duplicate"]}
    stored = stored_of(manifest("a.yaml", id=ONE), manifest("c.yaml", default=True))
    found = clash(
        manifest("b.yaml", id=ONE, default=True),
        manifest("a.yaml", id=TWO),
        manifest("c.yaml", default=True),
        stored=stored,
    )
    assert found == {"b.yaml": ["default-duplicate"], "a.yaml": ["place-taken"]}


def test_a_seal_has_one_owner() -> None:
    """The same owner may use a sealed value twice, another one may not; the message names no value."""
    ours, again = manifest("a.yaml", seals=[b"k"]), manifest("b.yaml", seals=[b"k"])
    theirs = manifest("acme/a.yaml", seals=[b"k", b"own"])
    assert find_reused_seals([ours, again], {}) == []
    found = find_reused_seals([theirs], {b"k": "default"})
    assert codes(found) == {"acme/a.yaml": ["seal-reused"]}
    assert "'default'" in found[0].violations[0].message


def test_history_knows_the_first_owner() -> None:
    """A seal of a deleted agent still belongs to its owner; of two that are new, neither gets it."""
    thief, owner = manifest("acme/a.yaml", seals=[b"k"]), manifest("b.yaml", seals=[b"k"])
    both = {"acme/a.yaml": ["seal-reused"], "b.yaml": ["seal-reused"]}
    assert codes(find_reused_seals([thief, owner], {})) == both
    assert codes(find_reused_seals([thief, owner], {b"k": "default"})) == {"acme/a.yaml": ["seal-reused"]}


def test_a_copy_does_not_hold_up_the_next_edit() -> None:
    """A file that fails by what is known claims nothing new: else a copy would set the owner's edit aside."""
    owner = manifest("acme/a.yaml", seals=[b"key", b"new"])
    thief = manifest("beta/a.yaml", seals=[b"key", b"new"])
    assert codes(find_reused_seals([owner, thief], {b"key": "acme"})) == {"beta/a.yaml": ["seal-reused"]}


def test_an_id_goes_along_when_its_owner_moves_the_file() -> None:
    """Another owner who lists the id does not get it by the order of names."""
    moved, thief = manifest("acme/new.yaml", id=ONE), manifest("aaa/x.yaml", id=ONE)
    stored = stored_of(manifest("acme/old.yaml", id=ONE))
    assert clash(thief, moved, stored=stored) == {"aaa/x.yaml": ["id-duplicate"]}


def test_a_broken_file_holds_up_its_own_owner_only() -> None:
    """A place that acme's deletion leaves free is free, whatever is wrong with a file of beta."""
    stored = stored_of(manifest("acme/a.yaml", id=ONE), manifest("beta/b.yaml"))
    renewed = manifest("acme/a.yaml", id=TWO)
    found = find_conflicts([renewed], stored.agents, "main", refused={"beta/b.yaml"})
    assert codes(found) == {}
    found = find_conflicts([renewed], stored.agents, "main", refused={"acme/other.yaml"})
    assert codes(found) == {"acme/a.yaml": ["place-taken"]}


def listing(path: str, *hashes: str) -> User:
    """A user file with these tokens."""
    tokens = [{"name": f"t{number}", "sha256": sha256} for number, sha256 in enumerate(hashes)]
    lines = "".join(f"  - name: {token['name']}\n    sha256: {token['sha256']}\n" for token in tokens)
    return replace(user(path), tokens=tuple(tokens), data=f"tokens:\n{lines}".encode())


A, B = "a" * 64, "b" * 64


def test_a_token_belongs_to_whoever_had_it_first() -> None:
    """Of two new ones nobody's, else the stored holder's; the violation is at the line of the hash."""
    acme, beta = listing("acme/_user.yaml", A), listing("beta/_user.yaml", B, A)
    both = {"acme/_user.yaml": ["token-reused"], "beta/_user.yaml": ["token-reused"]}
    assert codes(find_reused_tokens([acme, beta], {})) == both
    (found,) = find_reused_tokens([acme, beta], {A: "acme"})
    (violation,) = found.violations
    assert (violation.code, violation.where) == ("token-reused", "beta/_user.yaml:5:13")
    assert "'acme'" in violation.message
    assert codes(find_reused_tokens([beta], {A: "acme"})) == {"beta/_user.yaml": ["token-reused"]}
    assert find_reused_tokens([acme], {A: "acme"}) == []


def test_a_failing_claim_of_a_token_claims_nothing_else() -> None:
    """Beta's file fails by the old token of acme, so acme's new one is acme's."""
    acme, beta = listing("acme/_user.yaml", A, B), listing("beta/_user.yaml", A, B)
    assert codes(find_reused_tokens([acme, beta], {A: "acme"})) == {"beta/_user.yaml": ["token-reused"]}


def test_the_top_level_file_has_its_tokens() -> None:
    """It alone makes admins: nobody takes a token of it over, not even by having been first."""
    top, beta = listing("_user.yaml", A), listing("beta/_user.yaml", A)
    for known in ({}, {A: "beta"}, {A: "default"}):
        assert codes(find_reused_tokens([top, beta], known)) == {"beta/_user.yaml": ["token-reused"]}


def test_owners_differ_in_more_than_case() -> None:
    """The stored one keeps its name, with or without a user file."""
    files = [manifest("acme/a.yaml"), manifest("Acme/b.yaml")]
    assert codes(find_owner_conflicts(files, [], {"acme"})) == {"Acme/b.yaml": ["owner-case"]}
    assert codes(find_owner_conflicts(files[:1], [user("ACME/_user.yaml")], {"acme"})) == {
        "ACME/_user.yaml": ["owner-case"]
    }
    assert find_owner_conflicts(files[1:], [], {"acme"}) == []


def test_letter_case_does_not_tell_two_emails_apart() -> None:
    """The stored holder keeps its address."""
    acme, beta = user("acme/_user.yaml", "Ops@Acme.example"), user("beta/_user.yaml", "ops@acme.EXAMPLE")
    stored = stored_of(users=[acme])
    assert codes(find_user_conflicts([beta, acme], stored.users, "main")) == {
        "beta/_user.yaml": ["email-duplicate"]
    }


def test_a_copy_does_not_inherit_the_id_of_a_broken_file() -> None:
    """While its own file is set aside, a row keeps its id, name and default against every other file."""
    row = manifest("acme/a.yaml", id=ONE, default=True)
    copy = manifest("evil/a.yaml", id=ONE, default=True)
    found = find_conflicts([copy], stored_of(row).agents, "main", prune=False, refused={"acme/a.yaml"})
    assert codes(found) == {"evil/a.yaml": ["place-taken"]}
    assert find_conflicts([copy], stored_of(row).agents, "main", prune=False, refused={"other.yaml"}) == []


def test_an_email_has_one_owner() -> None:
    """The stored owner keeps it, else the first by path; it may move in one step."""
    acme, beta = user("acme/_user.yaml", "x@y.example"), user("beta/_user.yaml", "x@y.example")
    assert codes(find_user_conflicts([acme, beta], {}, "main")) == {"beta/_user.yaml": ["email-duplicate"]}
    stored = stored_of(users=[beta])
    assert codes(find_user_conflicts([acme, beta], stored.users, "main")) == {
        "acme/_user.yaml": ["email-duplicate"]
    }
    moved = [acme, user("beta/_user.yaml", "new@y.example")]
    assert find_user_conflicts(moved, stored.users, "main") == []


def test_an_email_of_an_owner_that_stays() -> None:
    """An owner of another source, or one that is not pruned, keeps its email."""
    acme, beta = user("acme/_user.yaml", "x@y.example"), user("beta/_user.yaml", "x@y.example")
    stored = stored_of(users=[beta])
    assert find_user_conflicts([acme], stored.users, "main") == []
    taken = {"acme/_user.yaml": ["email-duplicate"]}
    assert codes(find_user_conflicts([acme], stored.users, "main", prune=False)) == taken
    foreign = edited(stored, stored.users["beta"], source="other")
    assert codes(find_user_conflicts([acme], foreign.users, "main")) == taken
    theirs = replace(acme, email=None)
    stored = edited(stored_of(users=[theirs]), stored_of(users=[theirs]).users["acme"], source="other")
    assert codes(find_user_conflicts([acme], stored.users, "main")) == {
        "acme/_user.yaml": ["source-conflict"]
    }


def linked(path: str, *targets: str, active: bool = True, needs: str = "", has: str = "") -> Manifest:
    """A manifest that hands over to others; ``needs`` and ``has`` are names of variables."""
    links = tuple(HandoffLink(to, path, 7, 5) for to in targets)
    required, declared = tuple(needs.split()), tuple(sorted({*needs.split(), *has.split()}))
    return replace(manifest(path), active=active, links=AgentLinks(links, declared, required))


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (linked("acme/billing.yaml"), None),
        (linked("acme/other.yaml"), "handoff-target"),
        (linked("billing.yaml"), "handoff-target"),
        (linked("beta/billing.yaml"), "handoff-target"),
        (linked("acme/billing.yaml", active=False), "handoff-target"),
        (linked("acme/billing.yaml", needs="plan"), "handoff-variables"),
        (linked("acme/billing.yaml", needs="name"), None),
    ],
)
def test_a_target_of_a_hand_off(target: Manifest, code: str | None) -> None:
    """It exists, answers, has the same owner, and lacks no variable; otherwise its place is named."""
    source = linked("acme/sales.yaml", "acme/billing", has="name")
    found = find_conflicts([source, target], {}, "main")
    assert codes(found) == ({"acme/sales.yaml": [code]} if code else {})
    assert all(one.violations[0].where == "acme/sales.yaml:7:5" for one in found)


def test_another_owners_target_is_reported_as_none() -> None:
    """So that nobody finds out what others have."""
    source = linked("acme/sales.yaml", "beta/billing")
    (foreign,) = find_conflicts([source, linked("beta/billing.yaml")], {}, "main")
    (missing,) = find_conflicts([source], {}, "main")
    assert foreign == missing


def test_a_target_by_its_id() -> None:
    """As every command takes one."""
    assert clash(linked("acme/sales.yaml", ONE), replace(linked("acme/b.yaml"), id=UUID(ONE))) == {}


def test_a_target_that_is_deleted_or_suspended_later() -> None:
    """The file that names it is at fault though it did not change; what it says so far stays in the store."""
    source, target = linked("acme/sales.yaml", "acme/billing"), linked("acme/billing.yaml")
    stored = stored_of(source, target)
    unread = replace(source, value=None, data=None)
    assert clash(unread, target, stored=stored) == {}
    assert clash(unread, stored=stored) == {"acme/sales.yaml": ["handoff-target"]}
    assert clash(unread, stored=stored, prune=False) == {}
    suspended = replace(target, active=False)
    assert clash(unread, suspended, stored=stored) == {"acme/sales.yaml": ["handoff-target"]}


def test_a_target_whose_file_is_wrong_is_not_wrong_twice() -> None:
    """Its own violation is enough, and its last good version goes on."""
    source, target = linked("acme/sales.yaml", "acme/billing"), linked("acme/billing.yaml")
    for stored in (EMPTY, stored_of(source, target)):
        found = find_conflicts([source], stored.agents, "main", refused=["acme/billing.yaml"])
        assert codes(found) == {}


def test_two_agents_may_hand_over_to_each_other() -> None:
    """A cycle is bounded where it runs, and two quarantined ones do not pull each other down."""
    first, second = linked("acme/a.yaml", "acme/b"), linked("acme/b.yaml", "acme/a")
    assert clash(first, second) == {}
    broken = linked("acme/b.yaml", "acme/a", "acme/none")
    assert clash(first, broken) == {"acme/b.yaml": ["handoff-target"]}
