"""Who gets an id, a seal or a folder that two files claim, and what only claims to be sealed."""

from __future__ import annotations

import pytest

from agentsd.control.sync.branch_plan import plan_branch
from agentsd.control.validation.validate import validate_tree
from agentsd.core.plan.plan import Quarantined
from tests.control.place import Place, echo, groq, make_checker, operations, uid
from tests.runtime.world import Keys


async def test_a_broken_file_keeps_its_agent_from_a_copy(place: Place) -> None:
    """A file that pins another's id does not take the agent over when that one's file breaks."""
    await place.sync({"acme/sales.yaml": echo(1, name="Sales")})
    files = {"acme/sales.yaml": "name: [broken\n", "evil/x.yaml": echo(1, name="Evil")}
    outcome = await place.sync(files, strict=False)
    assert {q.path for q in outcome.plan.quarantined} == files.keys()
    assert await place.slugs() == {"acme/sales"}


async def test_a_new_seal_under_two_owners_is_nobodys(place: Place, keys: Keys) -> None:
    """The thief does not win by the order of names; the seal is the owner's who comes with it alone."""
    sealed = keys.seal(groq(1))
    thief, victim = "aaa/thief.yaml", "acme/victim.yaml"
    outcome = await place.sync({thief: sealed.replace(uid(1), uid(2)), victim: sealed}, strict=False)
    assert {q.path for q in outcome.plan.quarantined} == {thief, victim}
    await place.sync({thief: None}, strict=False)
    outcome = await place.sync({thief: sealed.replace(uid(1), uid(2))}, strict=False)
    assert {q.path for q in outcome.plan.quarantined} == {thief}
    assert await place.slugs() == {"acme/victim"}


async def test_a_folder_that_gets_an_owner_is_closed_to_the_top(place: Place) -> None:
    """A manifest at the top is judged alike by a daemon, by a fresh process and on an empty store."""
    text = echo(1, extra="rag:\n  sources: [acme/faq.md]\n")
    await place.sync({"a.yaml": text, "acme/faq.md": "# Questions\n"})
    for fresh in (place, place.again(make_checker(None))):
        outcome = await fresh.sync({"acme/b.yaml": echo(2)}, strict=False)
        (refused,) = outcome.plan.quarantined
        assert (refused.path, refused.violations[0].code) == ("a.yaml", "attachment-missing")


async def test_what_only_looks_sealed_is_refused(place: Place, keys: Keys) -> None:
    """A ciphertext that the file's rule passes over would go out as it stands, as a prompt or a key."""
    sealed = keys.seal(groq(1))
    copied = sealed[sealed.index("ENC[") : sealed.index("]") + 1]
    outcome = await place.sync({"a.yaml": f"greeting: {copied}\n{sealed}"}, strict=False)
    (refused,) = outcome.plan.quarantined
    assert [v.code for v in refused.violations] == ["seal-stray"]


async def test_a_renamed_folder_keeps_its_seals_and_tokens(place: Place, keys: Keys) -> None:
    """The owner is the same by another name: now, and at later edits; a copy beside it is nobody's."""
    user = f"tokens:\n  - name: ci\n    sha256: {'ab' * 32}\n    role: editor\n"
    one, two = keys.seal(groq(1)), keys.seal(groq(2))
    await place.sync({"acme/a.yaml": one, "acme/b.yaml": two, "acme/_user.yaml": user})
    (place.root / "acme").rename(place.root / "globex")
    outcome = await place.sync()
    assert operations(outcome) == {("rename", "globex/a"), ("rename", "globex/b")}
    await place.sync({"globex/a.yaml": one.replace("name: Groq", "name: Edited")})
    outcome = await place.sync({"acme/a.yaml": one.replace(uid(1), uid(3))}, strict=False)
    assert {q.path for q in outcome.plan.quarantined} == {"acme/a.yaml"}


async def test_a_branch_may_rename_a_folder(place: Place, keys: Keys) -> None:
    """The plan of a branch and ``validate`` take it as a sync does; a part of a folder is refused."""
    user = f"tokens:\n  - name: ci\n    sha256: {'ab' * 32}\n    role: editor\n"
    place.write(
        {"acme/a.yaml": keys.seal(groq(1)), "acme/b.yaml": keys.seal(groq(2)), "acme/_user.yaml": user}
    )
    before, checker = place.tree(), make_checker(keys)
    (place.root / "acme").rename(place.root / "globex")
    planned = plan_branch(before, place.tree(), checker).plan
    assert planned.quarantined == ()
    assert [(one.operation, one.slug) for one in planned.changes] == [
        ("rename", "globex/a"),
        ("rename", "globex/b"),
    ]
    assert await validate_tree(place.tree(), checker) == ()
    place.write({"acme/b.yaml": (place.root / "globex/b.yaml").read_text(), "globex/b.yaml": None})
    planned = plan_branch(before, place.tree(), checker).plan
    assert {v.code for one in planned.quarantined for v in one.violations} == {"seal-reused", "token-reused"}


async def test_what_is_no_rename_of_an_owner(place: Place, keys: Keys) -> None:
    """A part of the folder, an owner that exists, or a copy of what was deleted: a secret changes hands."""
    one, two = keys.seal(groq(1)), keys.seal(groq(2))
    await place.sync({"acme/a.yaml": one, "acme/b.yaml": two, "beta/c.yaml": echo(3)})
    for target in ("globex/a.yaml", "beta/a.yaml"):
        outcome = await place.sync({"acme/a.yaml": None, target: one}, strict=False)
        assert [v.code for q in outcome.plan.quarantined for v in q.violations] == ["seal-reused"]
        await place.sync({"acme/a.yaml": one, target: None})
    outcome = await place.sync({"acme/a.yaml": None, "acme/b.yaml": None, "beta/a.yaml": one}, strict=False)
    hints = {q.path: q.violations[0].hint for q in outcome.plan.quarantined}
    assert hints["beta/a.yaml"].endswith("agentsd rotate beta/a")


_TOKEN = "tokens:\n  - name: ci\n    sha256: " + "a" * 64 + "\n"
_EMAIL = "email: ops@example.com\n"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"acme/a.yaml": echo(1), "acme/b.yaml": echo(1)}, "id-duplicate"),
        ({"acme/a.yaml": echo(1), "acme/a.yml": echo(2)}, "slug-duplicate"),
        ({"acme/Sales.yaml": echo(1), "acme/sales.yaml": echo(2)}, "slug-case"),
        ({f"acme/{n}.yaml": echo(n, extra="default: true\n") for n in (1, 2)}, "default-duplicate"),
        ({"acme/a.yaml": echo(1), "Acme/b.yaml": echo(2)}, "owner-case"),
        ({"acme/_user.yaml": _TOKEN, "beta/_user.yaml": _TOKEN}, "token-reused"),
        ({"acme/_user.yaml": _EMAIL, "beta/_user.yaml": _EMAIL}, "email-duplicate"),
    ],
)
async def test_a_sync_a_branch_plan_and_validate_apply_the_same_rules(
    place: Place, files: dict[str, str], code: str
) -> None:
    """What a reviewer's checks accept is what a sync accepts, and the reason is the same."""
    before, checker = place.tree(), make_checker(None)
    place.write(files)
    synced = (await place.sync(strict=False)).plan.quarantined
    planned = plan_branch(before, place.tree(), checker).plan.quarantined
    validated = [(v.path, v.code, v.message) for v in await validate_tree(place.tree(), checker)]
    assert _list_reasons(synced) == _list_reasons(planned) == sorted(validated)
    assert {found[1] for found in validated} == {code}


async def test_a_reused_seal_is_refused_by_a_branch_plan_and_by_validate(place: Place, keys: Keys) -> None:
    """As a sync does: neither owner gets a seal that two of them add."""
    before, sealed = place.tree(), keys.seal(groq(1))
    place.write({"acme/a.yaml": sealed, "beta/a.yaml": sealed.replace(uid(1), uid(2))})
    checker = make_checker(keys)
    planned = plan_branch(before, place.tree(), checker).plan.quarantined
    validated = [(v.path, v.code, v.message) for v in await validate_tree(place.tree(), checker)]
    assert _list_reasons(planned) == sorted(validated)
    assert [code for _, code, _ in validated] == ["seal-reused", "seal-reused"]


def _list_reasons(quarantined: tuple[Quarantined, ...]) -> list[tuple[str, str, str]]:
    return sorted((v.path, v.code, v.message) for one in quarantined for v in one.violations)
