"""Writes through the API: a minimal edit of a file, sealed by the real sops, and live in the reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import pytest

from agentsd.control.sync import reconciler as reconcile
from agentsd.control.validation import text_extraction as extraction
from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.writeback import writer as writeback
from agentsd.core.manifest import document
from agentsd.core.manifest.document import parse_document
from agentsd.files.tree import SourceFile
from tests.bench.hostile import WORK, pdf
from tests.full_disk import full_disk
from tests.sops.services import vault_key, with_block
from tests.vendors.listener import Listener
from tests.web.conftest import CANARY, Keys, Make, Stack, echo

ECHO = {"provider": "echo.local"}
GROQ = {"provider": "groq.com", "model": "llama-3.1-8b-instant", "api_key": CANARY}


@pytest.fixture
async def open_stack(make: Make) -> Stack:
    """A replica that writes files."""
    return await make(write_back="files")


async def _created(stack: Stack, **body: Any) -> dict[str, Any]:
    status, agent = await stack.ask("POST", "/api/agents", json=body)
    assert status == 201, agent
    return dict(agent)


async def test_create_read_update_delete(open_stack: Stack) -> None:
    """A sealed agent from nothing, changed without losing its secret, and gone."""
    stack = open_stack
    agent = await _created(stack, name="Front Desk", system_prompt="Be kind.\n", llm_provider_config=GROQ)
    assert (agent["slug"], agent["is_default"]) == ("front-desk", False)
    assert agent["llm_provider_config"] == {**GROQ, "api_key": "**********"}
    file = stack.root / "front-desk.yaml"
    first = file.read_text()
    assert CANARY not in first
    assert "ENC[AES256_GCM" in first
    status, again = await stack.get("/api/agents/front-desk")
    assert (status, again["version"]) == (200, agent["version"])
    status, changed = await stack.ask(
        "PATCH", "/api/agents/front-desk", json={"llm_provider_config": {"model": "llama-3.3-70b-versatile"}}
    )
    assert status == 200, changed
    assert changed["version"] > agent["version"]
    assert changed["llm_provider_config"]["model"] == "llama-3.3-70b-versatile"
    assert _changed_lines(first, file.read_text()) == {
        "-  model: llama-3.1-8b-instant",
        "+  model: llama-3.3-70b-versatile",
    }
    status, gone = await stack.ask("DELETE", "/api/agents/front-desk")
    assert (status, gone["deleted"]) == (200, True), gone
    assert not file.exists()
    assert (await stack.get("/api/agents/front-desk"))[0] == 404


async def test_what_was_read_can_be_put_back(open_stack: Stack) -> None:
    """GET, then PUT of the same body: nothing changes, no version is spent, the secret stays."""
    stack = open_stack
    await _created(stack, name="A", llm_provider_config=GROQ)
    before = (stack.root / "a.yaml").read_bytes()
    _, agent = await stack.get("/api/agents/a")
    status, put = await stack.ask("PUT", "/api/agents/a", json=agent)
    assert (status, put["version"]) == (200, agent["version"]), put
    assert (stack.root / "a.yaml").read_bytes() == before


async def test_a_kept_secret_goes_nowhere_else(open_stack: Stack) -> None:
    """Another address or provider needs the secret again, masked, left out or merged."""
    stack = open_stack
    section = {
        "provider": "openai-compatible",
        "model": "m",
        "api_url": "https://a.example",
        "api_key": CANARY,
    }
    agent = await _created(stack, name="A", llm_provider_config=section)
    before = (stack.root / "a.yaml").read_bytes()
    moved = {"api_url": "https://evil.example"}
    for method, config in (
        ("PATCH", moved),
        ("PATCH", {**moved, "api_key": "**********"}),
        ("PUT", {"provider": "openai-compatible", "model": "m", **moved, "api_key": "**********"}),
        ("PATCH", {"provider": "groq.com", "model": "m", "api_key": "**********"}),
    ):
        status, problem = await stack.ask(method, "/api/agents/a", json={"llm_provider_config": config})
        assert (status, problem["code"]) == (422, "secret_needed"), (method, config, problem)
    left_out = {**agent["llm_provider_config"], **moved}
    del left_out["api_key"]
    status, problem = await stack.ask("PUT", "/api/agents/a", json={"llm_provider_config": left_out})
    assert status == 422, problem
    assert (stack.root / "a.yaml").read_bytes() == before


async def test_a_stale_if_match_is_refused(open_stack: Stack) -> None:
    """412 for who has not seen the last edit, be it made through the API or on disk."""
    stack = open_stack
    stack.write("a.yaml", echo("one"))
    await stack.sync()
    async with stack.client.get(f"{stack.url}/api/agents/a") as reply:
        etag = reply.headers["ETag"]
    match = {"If-Match": etag}
    status, _ = await stack.ask("PATCH", "/api/agents/a", json={"description": "mine"}, headers=match)
    assert status == 200
    status, problem = await stack.ask("PATCH", "/api/agents/a", json={"description": "old"}, headers=match)
    assert (status, problem["code"]) == (412, "precondition_failed")
    async with stack.client.get(f"{stack.url}/api/agents/a") as reply:
        match = {"If-Match": reply.headers["ETag"]}
    (stack.root / "a.yaml").write_text(echo("edited on disk"))
    status, _ = await stack.ask("DELETE", "/api/agents/a", headers=match)
    assert status == 412
    assert "edited on disk" in (stack.root / "a.yaml").read_text()


async def test_the_default_moves(open_stack: Stack) -> None:
    """set-default clears who was; both files change by one line, and there is one default throughout."""
    stack = open_stack
    stack.write("a.yaml", "# first\n" + echo("a", default=True))
    stack.write("b.yaml", "# second\n" + echo("b"))
    await stack.sync()
    status, agent = await stack.ask("POST", "/api/agents/b/set-default")
    assert (status, agent["is_default"]) == (200, True), agent
    _, current = await stack.get("/api/agents/current")
    assert current["slug"] == "b"
    assert "default" not in parse_document("a", (stack.root / "a.yaml").read_bytes()).value
    assert (stack.root / "a.yaml").read_text().startswith("# first\n")
    status, agent = await stack.ask("PATCH", "/api/agents/a", json={"is_default": True})
    assert (status, agent["is_default"]) == (200, True), agent
    assert (await stack.get("/api/agents/b"))[1]["is_default"] is False


async def test_what_is_current_is_not_deleted_by_that_name(open_stack: Stack) -> None:
    """A deletion names its agent: the current one may have changed in between."""
    stack = open_stack
    stack.write("a.yaml", echo("a", default=True))
    await stack.sync()
    status, problem = await stack.ask("DELETE", "/api/agents/current")
    assert (status, problem["param"]) == (422, "agent")
    assert (stack.root / "a.yaml").exists()


async def test_rollback(open_stack: Stack) -> None:
    """A revision comes back as a file, byte for byte, at a new version."""
    stack = open_stack
    stack.write("a.yaml", echo("one"))
    first = await stack.sync()
    status, second = await stack.ask("PATCH", "/api/agents/a", json={"description": "second"})
    assert status == 200
    status, back = await stack.ask("POST", "/api/agents/a/rollback", json={"version": first})
    assert (status, back["description"]) == (200, "Says what it hears."), back
    assert back["version"] > second["version"]
    assert (stack.root / "a.yaml").read_text() == echo("one")
    status, problem = await stack.ask("POST", "/api/agents/a/rollback", json={"version": 0})
    assert status == 400, problem


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"slug": "../evil"}, 422, "invalid_manifest"),
        ({"slug": "_user"}, 422, "invalid_manifest"),
        ({"slug": "current"}, 422, "invalid_manifest"),
        ({"slug": "a", "nmae": "x"}, 422, "invalid_manifest"),
        ({"slug": "a", "name": "x" * 201}, 422, "invalid_manifest"),
        ({"slug": "a", "llm_provider_config": {"provider": "nobody"}}, 422, "invalid_manifest"),
        (
            {"slug": "a", "llm_provider_config": {**GROQ, "api_key": "ENC[AES256_GCM,x]"}},
            422,
            "invalid_manifest",
        ),
        ({"slug": "a", "llm_provider_config": {**GROQ, "api_key": "**********"}}, 422, "invalid_manifest"),
        ({"slug": 3}, 422, "invalid_request"),
    ],
)
async def test_a_bad_body_writes_nothing(
    open_stack: Stack, body: dict[str, Any], status: int, code: str
) -> None:
    """422 with what is wrong, and no file, not even outside the folder."""
    got, problem = await open_stack.ask("POST", "/api/agents", json=body)
    assert (got, problem["code"]) == (status, code), problem
    assert [path.name for path in open_stack.root.rglob("*")] == []
    assert not (open_stack.root.parent / "evil.yaml").exists()


async def test_an_agent_that_exists_is_not_replaced(open_stack: Stack) -> None:
    """409 for a given slug; a slug made from the name steps aside."""
    await _created(open_stack, slug="a", name="A")
    status, problem = await open_stack.ask("POST", "/api/agents", json={"slug": "a", "name": "B"})
    assert (status, problem["code"]) == (409, "agent_exists")
    assert (await _created(open_stack, name="A"))["slug"] == "a-2"


async def test_a_bad_file_elsewhere_does_not_hold_a_deletion_back(open_stack: Stack) -> None:
    """An explicit delete is carried out, though a quarantined file keeps others from being pruned."""
    stack = open_stack
    stack.write("a.yaml", echo("a"))
    await stack.sync()
    stack.write("bad.yaml", "name: [\n")
    status, gone = await stack.ask("DELETE", "/api/agents/a")
    assert (status, gone["deleted"]) == (200, True), gone
    assert (await stack.get("/api/agents/a"))[0] == 404


async def test_yaml_in_a_field_is_text(open_stack: Stack, keys: Keys) -> None:
    """Whatever a text looks like, it reads back as that text and nothing else."""
    hostile = 'x"\ndefault: true\nllm: {provider: echo.local}\n# \u2028---\n- &a *a !!str'
    agent = await _created(open_stack, slug="a", name="a: b # c", system_prompt=hostile)
    assert (agent["name"], agent["system_prompt"], agent["is_default"]) == ("a: b # c", hostile, False)


def _changed_lines(before: str, after: str) -> set[str]:
    import difflib

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return {line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")}


async def test_an_owner_that_is_no_folder_is_refused(open_stack: Stack) -> None:
    """No slug can be made in it: 422, rather than looking for a free one for ever."""
    for owner in ("no folder {", "..", "a/b/../c", "_users", "x" * 300):
        status, told = await open_stack.ask("POST", "/api/agents", json={"name": "A", "user": owner})
        assert (status, told["param"]) == (422, "user"), told
    assert not list(open_stack.root.rglob("*.yaml"))


async def test_nothing_of_the_wrong_kind_is_not_nothing(open_stack: Stack) -> None:
    """An empty object is no empty text: what the schema refuses is refused, not left out."""
    for body in ({"name": {}}, {"name": "A", "checks": ""}, {"name": "A", "is_default": []}):
        assert (await open_stack.ask("POST", "/api/agents", json=body))[0] == 422, body


async def test_a_full_disk_is_503_and_leaves_nothing(open_stack: Stack) -> None:
    """Create and change; a folder that was made for it goes too, and what is small is still written."""
    stack, root = open_stack, open_stack.root
    await _created(stack, name="A", llm_provider_config=ECHO)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    long = {"system_prompt": token_hex(150_000)}
    with full_disk(200_000):
        for method, path, body in (
            ("PATCH", "/api/agents/a", long),
            ("POST", "/api/agents", {"slug": "acme/b", "llm_provider_config": ECHO} | long),
        ):
            status, problem = await stack.ask(method, path, json=body)
            assert (status, problem["code"]) == (503, "disk_full"), problem
            assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
            assert not (root / "acme").exists()
        status, changed = await stack.ask("PATCH", "/api/agents/a", json={"description": "short"})
        assert status == 200, changed
    status, changed = await stack.ask("PATCH", "/api/agents/a", json=long)
    assert status == 200, changed


async def test_an_edit_takes_no_more_memory_than_the_operator_allows(open_stack: Stack) -> None:
    """A PATCH to 3 GB of an LLM's context is refused and changes nothing, also in a fallback."""
    stack = open_stack
    await _created(stack, name="A", llm_provider_config={"provider": "llama-cpp.embedded"})
    before = (stack.root / "a.yaml").read_bytes()
    huge = {"context_tokens": 4096, "parallel": 32}
    for change in (huge, {"fallback": [{"provider": "llama-cpp.embedded", **huge}]}):
        status, answer = await stack.ask("PATCH", "/api/agents/a", json={"llm_provider_config": change})
        assert status == 422, answer
        assert "AGENTSD_ENGINE_CONTEXT" in str(answer)
        assert (stack.root / "a.yaml").read_bytes() == before


async def test_no_write_reaches_a_key_service_that_nobody_named(open_stack: Stack) -> None:
    """Not by a file whose only key is said to be elsewhere: its secret, given anew, is sealed by the rules.

    Nor by a creation rule: nothing is written.
    """
    stack = open_stack
    await _created(stack, name="A", llm_provider_config=GROQ)
    file = stack.root / "a.yaml"
    with Listener() as listener:
        hostile = with_block(file.read_bytes(), age=None, hc_vault=[vault_key(listener.url)])
        file.write_bytes(hostile)
        secret = {"llm_provider_config": {**GROQ, "api_key": "gsk-other-1"}}
        status, answer = await stack.ask("PATCH", "/api/agents/a", json=secret)
        assert status == 200, answer
        assert set(parse_document("a.yaml", file.read_bytes()).value["sops"]) & {"age", "hc_vault"} == {"age"}
        uri = f"{listener.url}/v1/transit/keys/agents"
        rules = {"creation_rules": [{"encrypted_regex": "^api_key$", "hc_vault_transit_uri": uri}]}
        (stack.root.parent / ".sops.yaml").write_text(json.dumps(rules))
        status, answer = await stack.ask("POST", "/api/agents", json={"name": "B", **secret})
        assert (status, answer["code"]) == (503, "sops_failed"), answer
        assert f"{uri} to AGENTSD_KEY_SERVICES" in str(answer)
        assert not (stack.root / "b.yaml").exists()
        assert listener.connections == 0


async def test_an_edit_waits_for_a_slow_file_and_others_do_not(
    open_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PDF that takes a second is waited for outside the turn; one that takes too long refuses its own."""
    monkeypatch.setattr(reconcile, "ROUND_SETTLE_SECONDS", 0.0)
    extraction._get_outcome_cache.cache_clear()
    stack = open_stack
    for name in ("A", "B"):
        await _created(stack, name=name, llm_provider_config=ECHO)
    (stack.root / "a.pdf").write_bytes(pdf(WORK))
    known = {"rag_config": {"sources": ["a.pdf"]}}
    status, answer = await stack.ask("PATCH", "/api/agents/a", json=known)
    assert (status, answer["rag_config"]["sources"]) == (200, ["a.pdf"]), answer
    extraction._get_outcome_cache.cache_clear()  # as after a restart: what is stored is not read again
    status, answer = await stack.ask("PATCH", "/api/agents/a", json={"system_prompt": "Be kind.\n"})
    assert status == 200, answer
    (stack.root / "a.pdf").write_bytes(pdf(WORK, pages=2000))
    monkeypatch.setattr(writeback, "EDIT_TIMEOUT_SECONDS", 0.5)
    edit = asyncio.create_task(stack.ask("PATCH", "/api/agents/a", json={"system_prompt": "Be brief.\n"}))
    status, answer = await stack.ask("PATCH", "/api/agents/b", json={"system_prompt": "Be swift.\n"})
    assert status == 200, answer
    status, answer = await edit
    assert status == 422, answer
    assert "attachment-pending" in str(answer)
    assert "Be kind." in (stack.root / "a.yaml").read_text()


async def test_a_change_is_parsed_once_and_checked_once(
    open_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the old text one parse; of the new one three: by the writer, the runtime and the reply."""
    stack = open_stack
    await _created(stack, name="A", llm_provider_config=GROQ)
    await stack.ask("PATCH", "/api/agents/a", json={"description": "first"})
    old = (stack.root / "a.yaml").read_text()
    parsed, checked = [], []
    iterate, check = document.iter_events, Checker.check

    def iter_events(text: str) -> Iterator[Any]:
        parsed.append(text)
        return iterate(text)

    def check_file(self: Checker, file: SourceFile, *others: Any) -> CheckResult:
        checked.append(file.path)
        return check(self, file, *others)

    monkeypatch.setattr(document, "iter_events", iter_events)
    monkeypatch.setattr(Checker, "check", check_file)
    async with stack.client.get(f"{stack.url}/api/agents/a") as reply:
        match = {"If-Match": reply.headers["ETag"]}
    status, answer = await stack.ask("PATCH", "/api/agents/a", json={"description": "second"}, headers=match)
    assert status == 200, answer
    new = (stack.root / "a.yaml").read_text()
    assert (parsed.count(old), parsed.count(new), len(parsed)) == (1, 3, 4)
    assert checked == ["a.yaml"]


async def test_the_target_of_a_hand_off_stays(open_stack: Stack) -> None:
    """It is not suspended, deleted or made to need more as long as another agent hands over to it."""
    stack = open_stack
    await _created(stack, slug="back", name="Back", llm_provider_config=ECHO)
    handoff = [{"to": "back", "when": "anything else"}]
    await _created(stack, slug="front", name="Front", llm_provider_config=ECHO, handoff=handoff)
    edits: list[tuple[str, str, dict[str, Any] | None]] = [
        ("DELETE", "handoff-target", None),
        ("PATCH", "handoff-target", {"is_active": False}),
        ("PATCH", "handoff-variables", {"variables": {"who": {"type": "string"}}}),
    ]
    for method, code, body in edits:
        for query in ("?dry_run=true", ""):
            status, problem = await stack.ask(method, f"/api/agents/back{query}", json=body)
            found = problem["violations"]
            assert [(one["path"], one["code"]) for one in found] == [("front.yaml", code)], (method, query)
            assert found[0]["line"] > 1
            assert status == 422
    status, _ = await stack.ask("PATCH", "/api/agents/front", json={"handoff": []})
    assert status == 200
    for method, _, body in reversed(edits):
        status, _ = await stack.ask(method, "/api/agents/back", json=body)
        assert status == 200
