"""Who gets an id, a seal or a folder that two files claim, and what only claims to be sealed."""

from __future__ import annotations

from tests.control.place import Place, echo, groq, make_checker, uid
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
