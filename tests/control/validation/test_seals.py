"""Seals in a sync: with a key, without one, and with one later."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from uuid import UUID

import pytest

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from agentsd.files.tree import NO_SIGNATURE, SourceFile
from agentsd.providers.catalog import default_catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.control.place import Place, echo, groq, make_checker, uid
from tests.files.git.remote import end_agent
from tests.runtime.world import Keys
from tests.sops.services import fingerprint, seal, with_block


def one(number: int) -> UUID:
    return UUID(uid(number))


async def test_a_secret_is_changed_or_resealed(place: Place, keys: Keys) -> None:
    """With a key, a new secret is told from a new seal of the old one; without, it is only resealed."""

    async def secret(text: str, by: Place) -> str | None:
        by.write({"a.yaml": text})
        fields = (await by.plan()).plan.changes[0].fields
        assert all("ENC[" not in str(field) and "sk-" not in str(field) for field in fields)
        return {field.pointer: field.secret for field in fields}[("llm", "api_key")]

    await place.sync({"a.yaml": keys.seal(groq(1, key="sk-one"))})
    keyless = place.again(make_checker(None))
    assert await secret(keys.seal(groq(1, key="sk-two")), place) == "changed"
    assert await secret(keys.seal(groq(1, key="sk-one")), place) == "resealed"
    assert await secret(keys.seal(groq(1, key="sk-two")), keyless) == "resealed"


async def test_a_keyless_sync_is_verified_later(place: Place, keys: Keys) -> None:
    """Who has a key checks what was stored unverified, without a version; and finds what was forged."""
    keyless = place.again(make_checker(None))
    outcome = await keyless.sync({"a.yaml": keys.seal(groq(1)), "b.yaml": echo(2)})
    assert [warning.code for warning in outcome.warnings] == ["seal-unverified"]
    before = await place.stored()
    assert [before.agents[one(n)].verified for n in (1, 2)] == [False, True]
    outcome = await place.sync()
    assert outcome.head is None
    assert len(outcome.plan.rechecked) == 1
    after = await place.stored()
    assert after.agents[one(1)].verified
    assert after.version == before.version
    assert (await place.sync()).plan.rechecked == ()
    assert (await place.again(make_checker(keys)).sync()).plan.rechecked == ()


async def test_a_key_finds_what_was_stored_unverified(place: Place, keys: Keys, strangers: Keys) -> None:
    """A forged seal that a keyless sync let in is quarantined by the next one that has the key."""
    forged = keys.seal(groq(1)).replace("data:", "data:AAAA", 1)
    await place.again(make_checker(None)).sync({"a.yaml": forged})
    with pytest.raises(InvalidManifests) as raised:
        await place.sync()
    assert raised.value.violations[0].code == "seal-tampered"


async def test_other_rules_check_everything_again(place: Place, keys: Keys) -> None:
    """A trusted origin that is trusted no more, though no file changed."""
    text = keys.seal(groq(1).replace("groq.com", "groq.com\n  api_url: https://proxy.example"))
    trusting = place.again(make_checker(keys, trusted=frozenset({"https://proxy.example"})))
    await trusting.sync({"a.yaml": text})
    with pytest.raises(InvalidManifests) as raised:
        await place.sync()
    assert raised.value.violations[0].code == "secret-destination"
    wider = frozenset({"https://proxy.example", "https://other.example"})
    outcome = await place.again(make_checker(keys, trusted=wider)).sync()
    assert outcome.head is None
    assert len(outcome.plan.rechecked) == 1


async def test_a_seal_belongs_to_its_owner_for_ever(place: Place, keys: Keys) -> None:
    """Also after its agent is gone."""
    text = keys.seal(groq(1))
    await place.sync({"a.yaml": text, "b.yaml": echo(2)})
    await place.sync({"a.yaml": None})
    with pytest.raises(InvalidManifests) as raised:
        await place.sync({"acme/a.yaml": text})
    assert raised.value.violations[0].code == "seal-reused"


async def settled(checker: Checker, path: str, data: bytes) -> CheckResult:
    """What a file turns out to be, after sops was asked."""
    return await checker.settle(checker.check(SourceFile(path, NO_SIGNATURE, sha256(data).digest(), data)))


async def test_files_sealed_to_pgp_open_without_an_age_key(tmp_path: Path) -> None:
    """The real sops is asked, though no age key is at hand; what it cannot open stays unverified."""
    home = Path(mkdtemp(prefix="g"))
    try:
        mine = await fingerprint(home, "ada")
        sealed = await seal(tmp_path, {"pgp": mine, "mac_only_encrypted": True}, groq(1), GNUPGHOME=str(home))
        sops = SopsBinary(environ={"PATH": "/usr/bin:/bin", "GNUPGHOME": str(home)})
        checker = Checker(default_catalog(), Opener(Identities(), sops), require_mac=True)
        checked = await settled(checker, "a.yaml", sealed)
        assert checked.manifest is not None
        assert checked.manifest.verified
        key = parse_document("a.yaml", sealed).value["sops"]["pgp"][0]
        damaged = with_block(sealed, pgp=[{**key, "enc": key["enc"].replace("\n", "\nA", 2)}])
        (violation,) = (await settled(checker, "a.yaml", damaged)).violations
        assert violation.code == "seal-unverified"
    finally:
        end_agent(home)
        shutil.rmtree(home, ignore_errors=True)
