"""Bad input: a clear message at the right place, nothing lost, and no other agent hurt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agentsd.control.validation.validate import validate_tree
from agentsd.core.errors import InvalidManifests
from agentsd.core.violations import Violation, filter_errors
from agentsd.files.tree import read_tree
from tests.control.bad_inputs import BAD
from tests.control.breaking import GOOD, VICTIM, Bad, Samples
from tests.control.place import Place, echo, groq, make_checker, operations, uid
from tests.runtime.world import Keys

PARTS = 4
"""Databases that the cases share: to make one takes longer than to check a case."""

EACH = pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])


@pytest.fixture(scope="module")
def samples(keys: Keys, strangers: Keys) -> Samples:
    """Sealed by the real sops."""
    return Samples(keys.seal(groq(1)), keys.seal(groq(1)), strangers.seal(groq(1)))


@pytest.fixture
def base(samples: Samples) -> dict[str, str]:
    """A tree in order: the victim, and those that must not be hurt."""
    return {
        VICTIM: samples.sealed,
        GOOD: echo(2, extra="default: true\n"),
        "acme/other.yaml": echo(3),
        "_user.yaml": "email: ops@example.org\n",
    }


def expected(bad: Bad, found: tuple[Violation, ...], path: str = "") -> Violation:
    """The one violation of that name at that path."""
    matching = [v for v in found if (v.path, v.code) == (path or bad.path, bad.code)]
    assert matching, [f"{v.where} {v.code} {v.message}" for v in found]
    return matching[0]


@EACH
async def test_the_message(
    bad: Bad, tmp_path: Path, keys: Keys, samples: Samples, base: dict[str, str]
) -> None:
    """Name, line, column, what is wrong and what to do; and no other file is blamed."""
    root = tmp_path / "agents.d"
    for path, content in base.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    bad.make(root, samples)
    checkers = [make_checker(keys, require_mac=bad.require_mac)]
    checkers += [] if bad.sealed else [make_checker(None)]
    for checker in checkers:
        found = await validate_tree(read_tree(root), checker)
        violation = expected(bad, found, bad.blamed)
        assert (violation.line, violation.column) == (bad.line, bad.column)
        assert bad.message in violation.message
        assert bad.hint in violation.hint
        assert violation.severity == "error"
        assert {v.path for v in filter_errors(found)} <= {bad.path, bad.blamed or bad.path}
        assert "canary" not in str(found)


@pytest.mark.parametrize("part", range(PARTS))
async def test_nothing_is_lost(
    part: int,
    place: Place,
    keys: Keys,
    samples: Samples,
    base: dict[str, str],
    subtests: pytest.Subtests,
) -> None:
    """A strict sync applies nothing; the daemon sets just this file aside, and applies the others."""
    for bad in BAD[part::PARTS]:
        with subtests.test(bad.name):
            shutil.rmtree(place.root)
            await place.again(make_checker(keys)).sync(base)
            await hurts_nobody(bad, place.again(make_checker(keys, require_mac=bad.require_mac)), samples)


async def hurts_nobody(bad: Bad, place: Place, samples: Samples) -> None:
    """Break one file of the tree and change another one."""
    before = await place.stored()
    bad.make(place.root, samples)
    place.write({GOOD: echo(2, reply="changed", extra="default: true\n")})
    with pytest.raises(InvalidManifests) as raised:
        await place.sync()
    expected(bad, raised.value.violations)
    assert await place.stored() == before
    outcome = await place.sync(strict=False)
    assert [q.path for q in outcome.plan.quarantined] == [bad.path]
    assert operations(outcome) == {("update", "good")}
    after = await place.stored()
    untouched = {i: row for i, row in before.agents.items() if row.slug != "good"}
    assert untouched == {i: row for i, row in after.agents.items() if row.slug != "good"}
    assert after.users == before.users


async def test_all_at_once(tmp_path: Path, keys: Keys, samples: Samples) -> None:
    """Every violation of every file, in one run."""
    root = tmp_path / "agents.d"
    root.mkdir()
    (root / "a.yaml").write_text("name: 1\ndescription: 2\nllm:\n  provider: nobody\n  x: 1\nextra: null\n")
    (root / "b.yaml").write_text("name: [\n")
    (root / "c.yaml").write_text(groq(1).replace("groq.com", "groq.com\n  completions_path: x"))
    found = filter_errors(await validate_tree(read_tree(root), make_checker(keys)))
    assert [(v.path, v.line, v.code) for v in found] == [
        ("a.yaml", 1, "wrong-type"),
        ("a.yaml", 2, "wrong-type"),
        ("a.yaml", 4, "unknown-provider"),
        ("a.yaml", 6, "unknown-key"),
        ("b.yaml", 2, "yaml-syntax"),
        ("c.yaml", 5, "invalid-value"),
        ("c.yaml", 6, "plaintext-secret"),
    ]


async def test_without_a_key_seals_are_only_reported(tmp_path: Path, samples: Samples) -> None:
    """A CI job has no key: it warns, and refuses where --require-mac is asked for."""
    (tmp_path / VICTIM).write_text(samples.sealed)
    (found,) = await validate_tree(read_tree(tmp_path), make_checker(None))
    assert (found.code, found.severity, found.line) == ("seal-unverified", "warning", 8)
    assert "no key available" in found.message
    (found,) = await validate_tree(read_tree(tmp_path), make_checker(None, require_mac=True))
    assert found.severity == "error"


async def test_a_name_that_is_no_utf8(place: Place, base: dict[str, str]) -> None:
    """Bytes that are no text are shown as escapes, and reach neither a log nor the database raw."""
    await place.sync(base)
    (Path(os.fsdecode(os.fsencode(place.root) + b"/caf\xe9.yaml"))).write_text(echo(9))
    outcome = await place.sync(strict=False)
    (quarantined,) = outcome.plan.quarantined
    assert quarantined.path == "caf\\udce9.yaml"
    assert quarantined.violations[0].code == "slug-invalid"


async def test_a_sealed_value_that_does_not_fit(place: Place, keys: Keys) -> None:
    """What is sealed is held to the same bounds as what is plain, once a key opens it."""
    text = keys.seal(groq(1).replace("sk-canary-9", '""'))
    place.write({VICTIM: text})
    found = await validate_tree(place.tree(), make_checker(keys))
    assert [(v.code, v.pointer) for v in found] in (
        [("opened-value", ("llm", "api_key"))],
        [("plaintext-secret", ("llm", "api_key"))],  # sops leaves an empty value as it is
    )


async def test_sops_that_cannot_be_asked_stops_nobody(place: Place, keys: Keys, base: dict[str, str]) -> None:
    """A key service that is away leaves its file unverified, not the others unsynced."""
    from agentsd.control.validation.checker import Checker
    from agentsd.providers.catalog import default_catalog
    from agentsd.sops.binary import SopsBinary
    from agentsd.sops.identities import find_identities
    from agentsd.sops.opener import Opener

    identities = find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent"))
    missing = SopsBinary(Path("/nonexistent/sops"), environ={})
    checker = Checker(default_catalog(), Opener(identities, missing))
    broken = base[VICTIM].replace("api_key: ENC[AES256_GCM,data:", "api_key: ENC[AES256_GCM,data:AAAA")
    outcome = await place.again(checker).sync({**base, VICTIM: broken})
    assert {slug for _, slug in operations(outcome)} == {"victim", "good", "acme/other"}
    assert [(v.path, v.code) for v in outcome.warnings] == [(VICTIM, "seal-unverified")]
    assert (
        not (await place.stored())
        .agents[next(iter({c.id for c in outcome.plan.changes if c.slug == "victim"}))]
        .verified
    )
    assert uid(1)
