"""?dry_run=true: what a write would come to, by the same rules, and without a trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.control.writeback.delivery import WriteMode
from agentsd.files.tree import read_tree
from tests.files.git.repositories import git
from tests.web.conftest import CANARY, Make, Stack, echo, vendor_manifest
from tests.web.people import ADMIN, ALICE, ANN, GUS, settle

GROQ = {"provider": "groq.com", "model": "llama-3.1-8b-instant", "api_key": CANARY}
SEALED_TOO = " # the seal's own lines change, too\n"
MODES: tuple[WriteMode, ...] = ("files", "off")


@pytest.fixture
async def stack(make: Make) -> Stack:
    """A replica that writes files."""
    return await make(write_back="files")


async def asked(stack: Stack, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """A dry run: its reply holds no secret, and no ciphertext."""
    url = f"{stack.url}/api/agents{path}"
    async with stack.client.request(method, url, params={"dry_run": "true"}, **options) as reply:
        raw = await reply.text()
        assert CANARY not in raw
        assert "AES256_GCM" not in raw
        return reply.status, await reply.json(content_type=None)


async def previewed(stack: Stack, method: str, path: str, **options: Any) -> dict[str, Any]:
    """One that is not refused, after which files, versions and records are as before."""
    before = await traces(stack)
    status, told = await asked(stack, method, path, **options)
    assert status == 200, told
    assert await traces(stack) == before
    return dict(told)


async def traces(stack: Stack) -> tuple[Any, ...]:
    """All that a write leaves: files with their times, the version, runs and audit entries on record."""
    files = {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in stack.root.parent.rglob("*")
    }
    _, synced = await stack.get("/api/sync")
    _, entries = await stack.get("/api/audit")
    return files, synced["version"], synced["runs"], entries


def minus_and_plus(diff: str) -> list[str]:
    """The lines that change."""
    return [line for line in diff.splitlines() if line[:1] in "-+" and line[:3] not in ("---", "+++")]


@pytest.mark.parametrize("mode", MODES)
async def test_a_change_is_shown_and_not_made(make: Make, mode: WriteMode) -> None:
    """The diff is git's, the text is the manifest's, and a file's comments are where they were."""
    stack = await make(write_back=mode)
    stack.write("a.yaml", "# mine\n" + echo("A"))
    await stack.sync()
    told = await previewed(stack, "PATCH", "/a", json={"description": "Other."})
    assert told == {
        "mode": mode,
        "path": "a.yaml",
        "file": "agents.d/a.yaml",
        "branch": None,
        "changed": True,
        "diff": (
            "--- a/agents.d/a.yaml\n+++ b/agents.d/a.yaml\n@@ -1,6 +1,6 @@\n # mine\n name: A\n"
            "-description: Says what it hears.\n+description: Other.\n"
            " default: false\n active: true\n system_prompt: You are A.\n"
        ),
        "text": "# mine\n" + echo("A").replace("Says what it hears.", "Other."),
        "commit_message": None,
        "violations": [],
    }
    same = await previewed(stack, "PATCH", "/a", json={"name": "A"})
    assert (same["changed"], same["diff"]) == (False, "")
    put = await previewed(stack, "PUT", "/a", json={"llm_provider_config": {"provider": "echo.local"}})
    assert "-name: A" in minus_and_plus(put["diff"])


@pytest.mark.parametrize("mode", MODES)
async def test_every_write_has_a_preview(make: Make, mode: WriteMode) -> None:
    """Deletion, the default that moves, and an older revision; every file that would change is shown."""
    stack = await make(write_back=mode)
    stack.write("a.yaml", echo("a", default=True))
    stack.write("b.yaml", echo("b"))
    first = await stack.sync()
    gone = await previewed(stack, "DELETE", "/b")
    assert gone["diff"].startswith("--- a/agents.d/b.yaml\n+++ /dev/null\n@@ -1,7 +0,0 @@\n-name: b\n")
    assert (gone["text"], gone["changed"]) == ("", True)
    moved = await previewed(stack, "POST", "/b/set-default")
    assert [line for line in moved["diff"].splitlines() if line.startswith("---")] == [
        "--- a/agents.d/a.yaml",
        "--- a/agents.d/b.yaml",
    ]
    assert minus_and_plus(moved["diff"]) == ["-default: true", "-default: false", "+default: true"]
    stack.write("a.yaml", echo("changed", default=True))
    await stack.sync()
    back = await previewed(stack, "POST", "/a/rollback", json={"version": first})
    assert (back["text"], back["path"]) == (echo("a", default=True), "a.yaml")


async def test_a_new_agent_is_shown_sealed(stack: Stack) -> None:
    """Under the name that it would get; its secret is sealed by the real sops, and shortened."""
    stack.write("front-desk.yaml", echo("x"))
    await stack.sync()
    told = await previewed(stack, "POST", "", json={"name": "Front Desk", "llm_provider_config": GROQ})
    assert told["path"] == "front-desk-2.yaml"
    assert told["diff"].startswith("--- /dev/null\n+++ b/agents.d/front-desk-2.yaml\n@@ -0,0 +1,")
    assert "+  api_key: ENC[…]\n" in told["diff"]
    assert told["diff"].endswith(SEALED_TOO)
    assert "sops:" not in told["diff"]
    assert told["text"].endswith("# sops: (the seal's own lines are not shown)\n")


async def test_a_new_secret_shows_as_another_seal(stack: Stack) -> None:
    """The seal of a kept one does not show as changed."""
    stack.write("a.yaml", vendor_manifest("http://127.0.0.1:1"), sealed=True)
    await stack.sync()
    told = await previewed(stack, "PATCH", "/a", json={"name": "Other"})
    assert minus_and_plus(told["diff"]) == ["-name: Sales", "+name: Other"]
    assert "the seal" not in told["diff"]
    config = {"api_key": f"{CANARY}-2", "model": "large"}
    told = await previewed(stack, "PATCH", "/a", json={"llm_provider_config": config})
    assert minus_and_plus(told["diff"]) == [
        *("-    model: m", "-    api_key: ENC[…]"),
        *("+    model: large", "+    api_key: ENC[…]"),
    ]
    assert told["diff"].endswith(SEALED_TOO)


async def test_a_guess_is_not_confirmed(stack: Stack) -> None:
    """Nobody learns from a look, which is not on record, whether a secret is the one that they try."""
    stack.write("a.yaml", vendor_manifest("http://127.0.0.1:1"), sealed=True)
    await stack.sync()
    told = []
    for guess in (CANARY, "not-the-secret"):
        body = {"llm_provider_config": {"api_key": guess}}
        told.append(await previewed(stack, "PATCH", "/a", json=body))
        told[-1]["diff"] = told[-1]["diff"].removesuffix(
            SEALED_TOO
        )  # of a file of this very second it may stay
    assert told[0] == told[1]
    assert told[0]["changed"] is True
    assert minus_and_plus(told[0]["diff"]) == ["-    api_key: ENC[…]", "+    api_key: ENC[…]"]
    sent = {"llm_provider_config": {"api_key": CANARY}}
    status, written = await stack.ask("PATCH", "/api/agents/a", json=sent)
    assert (status, written["write_back"]["message"]) == (200, "nothing to change")


async def test_a_secret_in_plain_text_does_not_show_on_its_way_out(stack: Stack) -> None:
    """Somebody wrote it into the file since the last sync; the edit removes it."""
    stack.write("a.yaml", echo("a"))
    await stack.sync()
    stack.write("a.yaml", echo("a") + f"  api_key: {CANARY}\ntts: {{provider: x, token: [{CANARY}]}}\n")
    for method, body in (("DELETE", None), ("PUT", {"llm_provider_config": {"provider": "echo.local"}})):
        told = await previewed(stack, method, "/a", json=body)
        assert '-  api_key: "**********"' in told["diff"]
        assert '-tts: {provider: x, token: ["**********"]}' in told["diff"]


NO_VENDOR = {"slug": "x", "llm_provider_config": {"provider": "nobody"}}
STALE = {"headers": {"If-Match": '"0000"'}}
REFUSED: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
    ("PATCH", "/a", {"json": {"nmae": "x"}}, 422, "invalid_manifest"),
    ("PATCH", "/a", {"json": {"name": "x" * 201}}, 422, "invalid_manifest"),
    ("PATCH", "/a", {"json": {"turn": {"api_key": CANARY}}}, 422, "invalid_manifest"),
    ("PATCH", "/a", {"json": {"llm_provider_config": {"api_key": [CANARY]}}}, 422, "invalid_manifest"),
    ("PATCH", "/a", {"json": {}, **STALE}, 412, "precondition_failed"),
    ("DELETE", "/a", STALE, 412, "precondition_failed"),
    ("PATCH", "/nobody", {"json": {}}, 404, "agent_not_found"),
    ("DELETE", "/echo", {}, 405, "read_only"),
    ("DELETE", "/current", {}, 422, "invalid_request"),
    ("POST", "", {"json": {"slug": "a"}}, 409, "agent_exists"),
    ("POST", "", {"json": {"slug": "../x"}}, 422, "invalid_manifest"),
    ("POST", "", {"json": NO_VENDOR}, 422, "invalid_manifest"),
    ("POST", "/a/rollback", {"json": {"version": 0}}, 400, "invalid_request"),
    ("PATCH", "/a", {"data": "{"}, 415, "unsupported_media_type"),
)


@pytest.mark.parametrize("mode", MODES)
async def test_what_would_be_refused_is(make: Make, mode: WriteMode) -> None:
    """With the error of the write itself, and without a record of it."""
    stack = await make(write_back=mode)
    stack.write("a.yaml", echo("a"))
    await stack.sync()
    before = await traces(stack)
    for method, path, options, status, code in REFUSED:
        got, problem = await asked(stack, method, path, **options)
        assert (got, problem["code"]) == (status, code), (method, path, options, problem)
    assert await traces(stack) == before


async def test_what_is_no_truth_value_is_refused(stack: Stack) -> None:
    """Nobody who means a dry run gets a write; false is a write like any other."""
    stack.write("a.yaml", echo("a"))
    await stack.sync()
    for query in ("dry_run=1", "dry_run=", "dry_run=True", "dry_run=false&dry_run=true"):
        status, problem = await stack.ask("DELETE", f"/api/agents/a?{query}")
        assert (status, problem["param"]) == (400, "dry_run")
    assert (stack.root / "a.yaml").exists()
    status, _ = await stack.ask("DELETE", "/api/agents/a?dry_run=false")
    assert (status, (stack.root / "a.yaml").exists()) == (200, False)


async def test_a_matching_etag_is_taken(make: Make) -> None:
    """The file's where there are files; the stored digest where there are none."""
    for mode in MODES:
        stack = await make(write_back=mode)
        stack.write("a.yaml", vendor_manifest("http://127.0.0.1:1"), sealed=True)
        await stack.sync()
        async with stack.client.get(f"{stack.url}/api/agents/a") as reply:
            match = {"If-Match": reply.headers["ETag"]}
        told = await previewed(stack, "PATCH", "/a", json={"name": f"In {mode}"}, headers=match)
        assert f"+name: In {mode}" in told["diff"]
        (stack.root / "a.yaml").unlink()
        await stack.sync()


async def test_an_agent_of_another_tree_is_shown_as_where_nothing_is_written(stack: Stack) -> None:
    """This server cannot write its file; a person can."""
    stack.write("a.yaml", echo("A"))
    await stack.reconciler.sync(read_tree(stack.root), SyncOptions(source="other"))
    while stack.registry.snapshot.version < 1:
        await asyncio.sleep(0.002)
    assert (await stack.ask("PATCH", "/api/agents/a", json={"name": "B"}))[0] == 405
    told = await previewed(stack, "PATCH", "/a", json={"name": "B"})
    assert (told["mode"], minus_and_plus(told["diff"])) == ("off", ["-name: A", "+name: B"])


@pytest.mark.parametrize("mode", MODES)
async def test_rights_are_those_of_the_write(make: Make, mode: WriteMode) -> None:
    """A viewer is refused; another owner's agent is not there; nobody without a token is heard."""
    stack = await make(write_back=mode)
    await settle(stack)
    requests: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("PATCH", "/acme~sales", {"json": {"description": "x"}}),
        ("PUT", "/acme~sales", {"json": {"llm_provider_config": {"provider": "echo.local"}}}),
        ("DELETE", "/acme~sales", {}),
        ("POST", "/acme~orders/set-default", {}),
        ("POST", "/acme~sales/rollback", {"json": {"version": stack.registry.snapshot.version}}),
        ("POST", "", {"json": {"slug": "acme/new", "llm_provider_config": {"provider": "echo.local"}}}),
    )
    for method, path, options in requests:
        for user, status in ((ADMIN, 200), (ALICE, 200), (ANN, 403), (GUS, 404 if path else 403)):
            got, told = await asked(stack, method, path, headers=user.headers, **options)
            assert got == status, (method, path, user, told)
        assert (await asked(stack, method, path, **options))[0] == 401


async def test_in_git_the_commit_is_shown_and_not_made(make: Make) -> None:
    """Its message, and git's own diff of the files; no object, no index, no commit is written."""
    stack = await make(write_back="git")
    top = stack.root.parent
    stack.write("a.yaml", "# mine\n" + echo("A", default=True) + "\n# the end")
    stack.write("b.yaml", echo("B"))
    (top / ".gitignore").write_text("ignored.yaml\n")
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    await stack.sync()
    told = await previewed(stack, "POST", "/b/set-default")
    assert told["commit_message"] == "agentsd: set-default b\n\nAgentsd-User: default/local\n"
    assert (told["mode"], told["branch"]) == ("git", None)
    status, _ = await stack.ask("POST", "/api/agents/b/set-default")
    assert status == 200
    assert git(top, "log", "-1", "--format=%B").strip() == told["commit_message"].strip()
    shown = [line for line in told["diff"].splitlines() if not line.startswith("@@")]
    made = git(top, "show", "--format=", "HEAD").splitlines()
    noise = ("diff --git", "index ", "@@")
    assert shown == [line for line in made if not line.startswith(noise)]
    gone = await previewed(stack, "DELETE", "/a")
    assert gone["diff"].endswith("-# the end\n\\ No newline at end of file\n")
    for method, path, body, code in (
        ("POST", "", {"slug": "ignored", "llm_provider_config": {"provider": "echo.local"}}, "git_refused"),
        ("PATCH", "/b", {"name": "C"}, "conflict"),
    ):
        (stack.root / "b.yaml").write_text(echo("B", default=True) + "# a draft\n")
        status, problem = await asked(stack, method, path, json=body)
        assert (status, problem["code"]) == (409, code), problem
    (top / ".git/MERGE_HEAD").write_text("")
    status, problem = await asked(stack, "DELETE", "/a")
    assert (status, problem["code"]) == (409, "git_refused"), problem
