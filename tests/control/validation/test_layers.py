"""``_defaults.yaml``: merged, judged, stored with every agent on it; and what it must never give away."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from agentsd.cli.commands.validate import validate_command
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import apply_edits
from agentsd.control.validation.validate import validate_tree
from agentsd.core.errors import InvalidManifests
from agentsd.files.tree import read_tree
from agentsd.store.queries import agents
from tests.control.place import Place, echo, make_checker, operations, uid
from tests.runtime.world import Keys

TOP = "_defaults.yaml"
ACME = "acme/_defaults.yaml"
GROQ = "llm:\n  provider: groq.com\n  api_key: sk-canary-1\n  model: small\n"


def one(number: int) -> UUID:
    return UUID(uid(number))


def bare(number: int, more: str = "") -> str:
    """A manifest that leaves the rest to its layers."""
    return f"id: {uid(number)}\n{more}"


async def found(
    place: Place, keys: Keys | None, files: dict[str, str], **options: frozenset[str]
) -> list[str]:
    """``file:line:column code`` of everything that is wrong."""
    place.write(files)  # type: ignore[arg-type]
    checker = make_checker(keys, **options)  # type: ignore[arg-type]
    return [f"{v.where} {v.code}" for v in await validate_tree(place.tree(), checker)]


async def test_defaults_reach_their_folder_and_below(place: Place, keys: Keys) -> None:
    """Top-level first, then the owner's, then deeper; the manifest last."""
    assert (
        await found(
            place,
            keys,
            {
                TOP: "description: top\ngreeting: top\nlanguage: en\n",
                ACME: "greeting: acme\nlanguage: de\nllm:\n  provider: echo.local\n",
                "acme/eu/_defaults.yaml": "language: fr\n",
                "acme/eu/a.yaml": bare(1, "llm:\n  reply: bonjour\n"),
                "b.yaml": echo(2),
            },
        )
        == []
    )
    await place.sync()
    async with place.database.transaction(snapshot=True) as conn:
        cursor = await conn.execute("SELECT slug, description, llm_provider_config FROM agents ORDER BY slug")
        rows = await cursor.fetchall()
    assert rows == [
        ("acme/eu/a", "top", {"provider": "echo.local", "reply": "bonjour"}),
        ("b", "top", {"provider": "echo.local", "reply": "hello"}),
    ]


@pytest.mark.parametrize(
    ("layer", "own", "expected"),
    [
        ("llm:\n  provider: echo.local\n  replly: x\n", "", ["_defaults.yaml:3:3 unknown-key"]),
        ("llm:\n  temprature: 1\n", "llm:\n  provider: echo.local\n", ["_defaults.yaml:2:3 unknown-key"]),
        (
            "llm:\n  api_key: sk-plain\n",
            "llm:\n  provider: echo.local\n",
            ["_defaults.yaml:2:12 plaintext-secret"],
        ),
        (
            "greeting: a\nid: " + uid(9) + "\n",
            "llm:\n  provider: echo.local\n",
            ["_defaults.yaml:2:1 layer-field"],
        ),
        ("default: true\n", "", ["_defaults.yaml:1:1 layer-field"]),
        ("name: X\n", "", ["_defaults.yaml:1:1 layer-field"]),
        ("greeting: [\n", "", ["_defaults.yaml:2:1 yaml-syntax"]),
        ("turn:\n  silence_ms: 1\n", "", ["_defaults.yaml:2:15 out-of-range"]),
        # A layer may leave out what another says; what then is wrong is told where it stands.
        ("llm:\n  reply: x\n", "", ["_defaults.yaml:1:1 missing-key"]),
        ("llm:\n  temperature: 1\n", "llm:\n  provider: echo.local\n", ["_defaults.yaml:2:3 unknown-key"]),
        ("llm:\n  provider: echo.local\n", "llm:\n  reply: 1\n", ["a.yaml:3:10 wrong-type"]),
        ("system_prompt_file: gone.md\n", "", ["_defaults.yaml:1:21 attachment-missing"]),
        ("rag:\n  top_k: 3\n", "", ["_defaults.yaml:1:1 missing-key"]),
        ("rag:\n  top_k: 3\n", "turn:\n  silence_ms: 100\n", ["_defaults.yaml:1:1 missing-key"]),
    ],
)
async def test_violations_are_told_where_they_stand(
    place: Place, layer: str, own: str, expected: list[str]
) -> None:
    """Once, however many agents are on the layer."""
    files = {TOP: layer, "a.yaml": bare(1, own), "b.yaml": bare(2, own)}
    told = await found(place, None, files)
    assert sorted({one.replace("b.yaml", "a.yaml") for one in told}) == expected


async def test_a_broken_layer_holds_its_agents_where_they_are(place: Place) -> None:
    """Each is quarantined with the layer's own mistake; others go on, and all go on once it is right."""
    files = {ACME: "greeting: hello\n", "acme/a.yaml": echo(1), "b.yaml": echo(2)}
    await place.sync(files, strict=False)
    broken = {ACME: "greting: hello\n", "acme/a.yaml": echo(1, reply="new"), "b.yaml": echo(2, reply="new")}
    outcome = await place.sync(broken, strict=False)
    assert operations(outcome) == {("update", "b")}
    assert {q.path: q.violations[0].where for q in outcome.plan.quarantined} == {
        ACME: f"{ACME}:1:1",
        "acme/a.yaml": f"{ACME}:1:1",
    }
    outcome = await place.sync({ACME: "greeting: hi\n"}, strict=False)
    assert operations(outcome) == {("update", "acme/a")}
    changed = {field.pointer: field.new for field in outcome.plan.changes[0].fields}
    assert changed[("greeting",)] == "hi"


async def test_changing_a_layer_changes_every_agent_on_it(place: Place, keys: Keys) -> None:
    """And no other; adding, editing, emptying and removing one. A no-op spends nothing, in any process."""
    files: dict[str, str | None] = {"acme/a.yaml": echo(1), "acme/eu/b.yaml": echo(2), "c.yaml": echo(3)}
    await place.sync(files)
    plain = {row.slug: row for row in (await place.stored()).agents.values()}
    for content in ("greeting: one\n", "greeting: two\n", "# nothing\ngreeting: two\n", None):
        outcome = await place.sync({ACME: content})
        assert operations(outcome) == {("update", "acme/a"), ("update", "acme/eu/b")}
        for fresh in (place, place.again(make_checker(keys))):
            assert (await fresh.sync()).head is None
    now = {row.slug: row for row in (await place.stored()).agents.values()}
    assert {slug: row.digest for slug, row in now.items()} == {
        slug: row.digest for slug, row in plain.items()
    }


async def test_an_agent_without_layers_is_as_it_ever_was(place: Place) -> None:
    """Its digest is its file's, its row names one layer, nothing is attached; with one, all are named."""
    await place.sync({"a.yaml": echo(1), ACME: "greeting: x\n", "acme/b.yaml": echo(2)})
    async with place.database.transaction(snapshot=True) as conn:
        cursor = await conn.execute(
            """SELECT a.digest = a.document_digest, a.attachments, a.layer_digests,
                      ARRAY(SELECT d.digest FROM documents d WHERE d.digest = ANY(a.layer_digests)
                            ORDER BY array_position(a.layer_digests, d.digest)),
                      r.attachments = a.attachments
               FROM agents a JOIN agent_revisions r ON r.agent_id = a.id ORDER BY a.slug"""
        )
        alone, layered = await cursor.fetchall()
    assert alone[:2] == (True, {})
    assert (len(alone[2]), len(layered[2])) == (1, 2)
    assert (alone[2], layered[2]) == (alone[3], layered[3])
    assert [one["path"] for one in layered[1]["layers"]] == [ACME]
    assert layered[4]


async def test_each_layer_has_its_own_seal(place: Place, keys: Keys, strangers: Keys) -> None:
    """Two data keys in one agent; tampering with either is found, and named."""
    files = {
        TOP: keys.seal(GROQ),
        "a.yaml": keys.seal(bare(1, "tts:\n  provider: elevenlabs.io\n  api_key: sk-2\n  voice_id: v\n")),
    }
    assert await found(place, keys, files) == []
    unverified = await found(place, None, files)
    assert [one.split(":")[0] + one.split()[1] for one in unverified] == [
        "_defaults.yamlseal-unverified",
        "a.yamlseal-unverified",
    ]
    for path, text in files.items():
        forged = text.replace("data:", "data:AAAA", 1)
        told = {
            (v.path, v.code, path in v.message)
            for v in await validate_tree(
                apply_edits(place.tree(), {path: forged.encode()}), make_checker(keys)
            )
        }
        assert ("a.yaml", "seal-tampered", True) in told
        assert ((TOP, "seal-tampered", False) in told) is (path == TOP)
    strange = strangers.seal(GROQ)
    assert all("seal-unverified" in one for one in await found(place, keys, {TOP: strange}))


async def test_a_secret_of_a_layer_is_changed_or_resealed(place: Place, keys: Keys) -> None:
    """Told of the agents on it, and never shown."""
    await place.sync({TOP: keys.seal(GROQ), "a.yaml": bare(1)})

    async def secret(text: str) -> str | None:
        place.write({TOP: keys.seal(text)})
        fields = {field.pointer: field.secret for field in (await place.plan()).plan.changes[0].fields}
        return fields[("llm", "api_key")]

    assert await secret(GROQ.replace("canary", "other")) == "changed"
    assert await secret(GROQ) == "resealed"


# Trust

EVIL = "https://evil.example"


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("own", "code"),
    [
        (f"llm:\n  api_url: {EVIL}\n", "missing-key"),
        (f"llm:\n  provider: groq.com\n  api_url: {EVIL}\n", "missing-key"),
        ("llm:\n  provider: groq.com\n", "missing-key"),
        (f"llm:\n  provider: openai-compatible\n  model: m\n  api_url: {EVIL}\n", ""),  # without a key
    ],
)
async def test_a_higher_layer_cannot_move_a_key_elsewhere(
    place: Place, keys: Keys, own: str, code: str, sealed: bool, keyed: bool
) -> None:
    """By an address or a provider, plain or sealed by whoever knows the public key: it inherits no secret."""
    text = keys.seal(bare(1, own), "api_url") if sealed and "api_url" in own else bare(1, own)
    told = await found(place, keys if keyed else None, {TOP: keys.seal(GROQ), "a.yaml": text})
    errors = [one for one in told if "seal-unverified" not in one]
    assert [one.split()[1] for one in errors] == ([code] if code else [])
    if not code:
        outcome = await place.sync()
        assert outcome.plan.changes[0].desired is not None
        assert "api_key" not in outcome.plan.changes[0].desired.value["llm"]


async def test_the_reason_is_told(place: Place, keys: Keys) -> None:
    """Which file holds the secret, and what to do."""
    place.write({TOP: keys.seal(GROQ), "a.yaml": bare(1, "llm:\n  provider: groq.com\n")})
    (violation,) = await validate_tree(place.tree(), make_checker(keys))
    assert violation.where == "a.yaml:2:1"
    assert "inherits no secret" in violation.hint
    assert TOP in violation.hint


@pytest.mark.parametrize("seal_url", [True, False])
async def test_a_lower_address_does_not_get_a_higher_key(place: Place, keys: Keys, seal_url: bool) -> None:
    """A sealed one vouches for the secrets of its own layer only; a trusted origin is fine."""
    below = f"llm:\n  provider: groq.com\n  model: m\n  api_url: {EVIL}\n"
    own = keys.seal(bare(1, "llm:\n  api_key: sk-mine\n"))
    files = {TOP: keys.seal(below, "api_url") if seal_url else below, "a.yaml": own}
    column = 14 if seal_url else 12
    assert await found(place, keys, files) == [f"_defaults.yaml:4:{column} secret-destination"]
    assert await found(place, keys, files, trusted=frozenset({EVIL})) == []


async def test_fallbacks_keep_to_their_layer(place: Place, keys: Keys) -> None:
    """A chain of the defaults with its keys is inherited whole, replaced whole, or not at all."""
    chain = "  fallback:\n    - provider: groq.com\n      api_key: sk-fallback\n      model: m\n"
    top = keys.seal("llm:\n  provider: echo.local\n" + chain)
    assert await found(place, keys, {TOP: top, "a.yaml": bare(1)}) == []
    stealing = bare(
        1, f"llm:\n  fallback:\n    - provider: groq.com\n      api_url: {EVIL}\n      model: m\n"
    )
    assert await found(place, keys, {"a.yaml": stealing}) == ["a.yaml:4:7 missing-key"]
    assert await found(place, keys, {"a.yaml": bare(1, "llm:\n  provider: echo.local\n")}) == []
    outcome = await place.sync()
    (change,) = outcome.plan.changes
    assert change.desired is not None
    assert change.desired.value["llm"] == {"provider": "echo.local"}


async def test_secrets_at_the_top_are_of_default(place: Place, keys: Keys) -> None:
    """Another owner's agent that would inherit one is refused, and others are not; plain fields reach it."""
    files = {TOP: keys.seal(GROQ + "greeting: hi\n"), "a.yaml": bare(1), "acme/b.yaml": bare(2)}
    assert await found(place, keys, files) == ["_defaults.yaml:3:14 layer-secret"]
    assert (await found(place, None, files))[0] == "_defaults.yaml:3:14 layer-secret"
    mine = keys.seal(GROQ.replace("canary", "acme"))
    assert await found(place, keys, {ACME: mine}) == []
    await place.sync()
    stored = {row.slug for row in (await place.stored()).agents.values()}
    assert stored == {"a", "acme/b"}
    async with place.database.transaction(snapshot=True) as conn:
        cursor = await conn.execute("SELECT owner, count(*)::int FROM seals GROUP BY 1 ORDER BY 1")
        assert await cursor.fetchall() == [("acme", 2), ("default", 2)]


async def test_another_owner_cannot_take_the_seal_of_a_layer(place: Place, keys: Keys) -> None:
    """Not even of a layer that no agent of its owner is on yet: who has it first is on record."""
    top = keys.seal(GROQ)
    await place.sync({TOP: top, "acme/b.yaml": echo(2)})
    with pytest.raises(InvalidManifests) as raised:
        await place.sync({"acme/c.yaml": bare(3) + top})
    assert {violation.code for violation in raised.value.violations} == {"seal-reused"}
    with pytest.raises(InvalidManifests) as raised:
        await place.sync({"acme/c.yaml": None, ACME: top})
    assert {violation.code for violation in raised.value.violations} == {"seal-reused"}


async def test_revisions_keep_their_layers(place: Place) -> None:
    """What an agent was is told with the layers that it had then."""
    await place.sync({ACME: "greeting: one\n", "acme/a.yaml": echo(1)})
    await place.sync({ACME: "greeting: two\n"})
    async with place.database.transaction(snapshot=True) as conn:
        history = await agents.load_revisions(conn, one(1))
        (row,) = (await agents.load_all(conn)).rows
    assert [[layer.data for layer in revision.layers] for revision in history] == [
        [b"greeting: two\n"],
        [b"greeting: one\n"],
    ]
    assert [(layer.path, layer.data) for layer in row.layers] == [(ACME, b"greeting: two\n")]


async def test_a_hand_edit_below_a_layer_is_healed(place: Place, keys: Keys) -> None:
    """Of the row, of what it is made of: the files win."""
    await place.sync({ACME: "greeting: one\n", "acme/a.yaml": echo(1)})
    before = await place.stored()
    for statement in ("SET attachments = '{}'", "SET llm_provider_config = '{}'"):
        await place.execute(f"UPDATE agents {statement}")
        for known in (place, place.again(make_checker(keys))):
            known.reconciler.forget()
            await known.sync()
        rows = (await place.stored()).agents
        assert rows[one(1)].attachments == before.agents[one(1)].attachments
        assert not rows[one(1)].drifted


async def test_a_link_to_defaults_is_followed_and_a_missing_one_is_told(tmp_path: Path, place: Place) -> None:
    """A layer that cannot be read holds its agents back, as any broken one."""
    place.write({"a.yaml": echo(1)})
    (place.root / TOP).symlink_to(tmp_path / "gone.yaml")
    told = await validate_tree(read_tree(place.root), make_checker(None))
    assert {(v.path, v.code) for v in told} == {(TOP, "unreadable")}
    with pytest.raises(InvalidManifests):
        await Reconciler(make_checker(None), place.database).sync(read_tree(place.root), SyncOptions())


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("acme/a.yaml", {f"{ACME}:1:1"}),
        (ACME, {f"{ACME}:1:1"}),
        ("c.yaml", {"c.yaml:2:1"}),
        (TOP, {"c.yaml:2:1", f"{ACME}:1:1"}),
        ("_user.yaml", set()),
    ],
)
def test_what_concerns_a_file(place: Place, chosen: str, told: set[str]) -> None:
    """``validate PATH``: its layers too, and of a layer every manifest on it."""
    place.write(
        {
            TOP: "language: en\n",
            ACME: "greting: x\n",
            "acme/a.yaml": echo(1),
            "b.yaml": echo(2),
            "c.yaml": bare(3, "llm: {}\n"),
            "_user.yaml": "email: a@example.org\n",
        }
    )
    options = ["--path", str(place.root), "--format", "json", str(place.root / chosen)]
    done = CliRunner().invoke(validate_command, options)
    found = json.loads(done.stdout)["violations"]
    wheres = {f"{v['path']}:{v['line']}:{v['column']}".removeprefix(f"{place.root}/") for v in found}
    assert wheres == told
    assert done.exit_code == (1 if told else 0)
