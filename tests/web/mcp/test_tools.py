"""/mcp by the SDK's own client: agents are listed, asked, edited through commits, and tested."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp import MCPError

from agentsd.control.writeback.delivery import GitOptions
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import CANARY, Make, Stack, vendor_manifest
from tests.web.mcp.conftest import MODES, call, connect, refusal
from tests.web.people import ADMIN, AGENTS, ALICE, ANN, USERS, User, settle


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_listed_and_asked(town: Stack, mode: str) -> None:
    """A viewer sees its owner's agents page by page, reads one, and gets an answer from it."""
    async with connect(town, ANN.headers, mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "agentsd"
        first = await call(client, "list_agents", limit=1)
        rest = await call(client, "list_agents", cursor=first["next_cursor"])
        assert [one["slug"] for one in (*first["items"], *rest["items"])] == ["acme/orders", "acme/sales"]
        assert [one["slug"] for one in (await call(client, "list_agents", query="SAL"))["items"]] == [
            "acme/sales"
        ]
        agent = await call(client, "read_agent", agent="acme/sales")
        assert agent["system_prompt"] == "You are Acme sales."
        history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        told = await call(client, "ask_agent", agent="current", message="good morning", history=history)
        assert (told["agent"], told["version"]) == ("acme/sales", agent["version"])
        assert "good morning" in told["answer"]
        missing = await refusal(client, "ask_agent", agent="acme/nobody", message="hello")
        assert (missing["status"], missing["code"]) == (404, "agent_not_found")
        with pytest.raises(MCPError):
            await client.call_tool("drop_table", {})


async def test_an_edit_is_a_commit(make: Make, tmp_path: Path) -> None:
    """Refused on what has changed, tried, and then made: the reply's diff is the commit's."""
    stack, repository = await make_repository(make, tmp_path)
    async with connect(stack, ALICE.headers) as client:
        agent = await call(client, "read_agent", agent="acme/sales")
        edit: dict[str, Any] = {
            "agent": "acme/sales",
            "changes": {"description": "Sells shoes."},
            "expected_digest": agent["digest"],
        }
        head = repository("rev-parse", "HEAD")
        tried = await call(client, "propose_edit", **edit, dry_run=True)
        assert tried["write_back"] is None
        assert repository("rev-parse", "HEAD") == head
        made = await call(client, "propose_edit", **edit)
        assert made["diff"] == tried["diff"]
        assert "+description: Sells shoes." in made["diff"]
        assert made["write_back"]["commit"] == repository("rev-parse", "HEAD") != head
        assert "+description: Sells shoes." in repository("show", "--format=%an", "HEAD")
        assert repository("log", "-1", "--format=%an") == "acme/editor"
        assert (await call(client, "read_agent", agent="acme/sales"))["description"] == "Sells shoes."
        late = await refusal(client, "propose_edit", **edit)
        assert late["code"] == "precondition_failed"
        wrong = await refusal(
            client,
            "propose_edit",
            agent="acme/sales",
            changes={"llm_provider_config": {"provider": "nobody"}},
        )
        assert (wrong["status"], wrong["violations"][0]["path"]) == (422, "acme/sales.yaml")
    audited = (await stack.get("/api/audit", headers=ALICE.headers))[1]["items"]
    assert [(one["action"], one["outcome"]) for one in audited] == [("update", "done")]


async def test_a_proposal_waits_on_a_branch(make: Make, tmp_path: Path) -> None:
    """Where edits are pull requests, a proposal is one; what is served does not change."""
    stack, repository = await make_repository(make, tmp_path, branch="agentsd/{slug}-{stamp}")
    async with connect(stack, ALICE.headers) as client:
        made = await call(client, "propose_edit", agent="acme/sales", changes={"description": "Sells hats."})
        branch = made["write_back"]["branch"]
        assert "+description: Sells hats." in repository("show", branch)
        assert (await call(client, "read_agent", agent="acme/sales"))["description"] != "Sells hats."


async def make_repository(make: Make, tmp_path: Path, **git: Any) -> tuple[Stack, Any]:
    """A replica whose folder is in git, and git in it."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tmp_path / "agents.d"), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    stack = await make(write_back="git", git=GitOptions(**git))
    run("init", "-q", "-b", "main")
    await settle(stack)
    run("add", ".")
    run("-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-q", "-m", "first")
    return stack, run


async def test_a_prompt_in_a_file_is_edited(town: Stack) -> None:
    """Read with its digest, and written if it is still that text."""
    town.write("acme/prompts/desk.md", "Be kind.\n")
    manifest = "name: Desk\nsystem_prompt_file: prompts/desk.md\nllm: {provider: echo.local}\n"
    town.write("acme/desk.yaml", manifest)
    await town.sync()
    async with connect(town, ALICE.headers) as client:
        at = {"agent": "acme/desk", "path": "acme/prompts/desk.md"}
        text = await call(client, "read_text", **at)
        assert text["text"] == "Be kind.\n"
        new = {**at, "text": "Be brief.\n", "expected_digest": text["digest"]}
        made = await call(client, "propose_text", **new)
        assert {"-Be kind.", "+Be brief."} <= set(made["diff"].splitlines())
        assert (town.root / "acme/prompts/desk.md").read_text() == "Be brief.\n"
        assert (await refusal(client, "propose_text", **new))["code"] == "precondition_failed"
        assert (await refusal(client, "read_text", agent="acme/desk", path="globex/sales.yaml"))[
            "status"
        ] == 404


async def test_a_read_only_server_proposes_nothing(make: Make) -> None:
    """Refused with the file to edit; the diff is shown all the same."""
    stack = await make()
    await settle(stack)
    async with connect(stack, ALICE.headers) as client:
        edit: dict[str, Any] = {"agent": "acme/sales", "changes": {"description": "x"}}
        told = await refusal(client, "propose_edit", **edit)
        assert (told["status"], told["code"], told["file"]) == (405, "read_only", "agents.d/acme/sales.yaml")
        tried = await call(client, "propose_edit", **edit, dry_run=True)
        assert "+description: x" in tried["diff"]
    assert "description: x" not in (stack.root / "acme/sales.yaml").read_text()


async def test_conditions_and_violations_are_ones_own(town: Stack) -> None:
    """What is wrong with own files, with line and column; nothing of another owner's."""
    town.write("acme/bad.yaml", "name: Bad\nllm:\n  provider: nobody.example\n")
    town.write("globex/bad.yaml", "name: [\n")
    async with connect(town, ALICE.headers) as client:
        told = await call(client, "validate")
        assert told["valid"] is False
        assert [(one["path"], one["line"]) for one in told["errors"]] == [("acme/bad.yaml", 3)]
        state = await call(client, "read_conditions")
        assert state["store"] == "ok"
        assert state["problems"] == []
    async with connect(town, ADMIN.headers) as client:
        assert {one["path"] for one in (await call(client, "validate"))["errors"]} == {
            "acme/bad.yaml",
            "globex/bad.yaml",
        }
        planned = await call(client, "plan")
        assert planned["plan"]["empty"] is True


async def test_no_folder_is_said(make: Make) -> None:
    """A replica without files has neither violations nor a plan."""
    stack = await make()
    await settle(stack)
    async with connect(stack, ADMIN.headers) as client:
        for tool in ("validate", "plan"):
            assert (await call(client, tool))["available"] is False


async def test_a_test_asks_the_vendor(town: Stack, vendor: OpenAIServer) -> None:
    """Probes for real, and shows no key."""
    town.write("acme/real.yaml", vendor_manifest(vendor.url), sealed=True)
    await town.sync()
    async with connect(town, ALICE.headers) as client:
        told = await call(client, "run_test", agent="acme/real", checks=True)
        assert (told["agent"], told["ok"]) == ("acme/real", True)
        assert CANARY not in str(await call(client, "read_agent", agent="acme/real"))


NEEDS = {
    "list_agents": "anyone",
    "read_conditions": "anyone",
    "validate": "anyone",
    "read_agent": "reader",
    "read_text": "reader",
    "ask_agent": "reader",
    "plan": "admin",
    "propose_edit": "writer",
    "propose_text": "writer",
    "run_test": "writer",
}
"""What each tool needs, as in ``tests.web.test_matrix``."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "read_text": {"path": "acme/no-such.md"},
    "ask_agent": {"message": "hello"},
    "propose_edit": {"changes": {"description": "x"}, "expected_digest": "0" * 64},
    "propose_text": {"path": "no-such.md", "text": "x", "expected_digest": "0" * 64},
}
"""With these a write that is granted goes as far as the file, and then is refused."""


@pytest.mark.parametrize("user", USERS, ids=lambda user: f"{user.owner}-{user.role}")
async def test_the_matrix_of_roles(town: Stack, user: User) -> None:
    """Every tool, for agents of every owner, by slug and by id, beside one that is not there."""
    ids = {row.row.slug: str(row.row.id) for row in town.registry.snapshot.ids.values()}
    own = sorted(slug for owner, slugs in AGENTS.items() if user.sees(owner) for slug in slugs)
    before = {file: file.read_bytes() for file in town.root.rglob("*.yaml")}
    async with connect(town, user.headers) as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}
        lacking = {"viewer": {"plan", "propose_edit", "propose_text", "run_test"}, "editor": {"plan"}}
        assert offered == NEEDS.keys() - lacking.get(user.role, set())
        assert [one["slug"] for one in (await call(client, "list_agents"))["items"]] == own
        for tool, need in NEEDS.items():
            if need == "admin" and user.role != "admin":
                assert (await refusal(client, tool))["status"] == 403
            if need in ("anyone", "admin"):
                continue
            for owner, (_, slug) in AGENTS.items():
                for there, missing in ((slug, f"{slug[:-4]}zzzz"), (ids[slug], str(uuid4()))):
                    found, absent = [
                        await client.call_tool(tool, {"agent": ref, **ARGUMENTS.get(tool, {})})
                        for ref in (there, missing)
                    ]
                    statuses = [
                        (one.structured_content or {}).get("problem", {}).get("status", 200)
                        for one in (found, absent)
                    ]
                    texts = [
                        str(one.content).replace(ref, "REF")
                        for one, ref in ((found, there), (absent, missing))
                    ]
                    what = (tool, owner, statuses, texts)
                    granted = user.sees(owner) if need == "reader" else user.writes(owner)
                    if granted:
                        assert statuses[0] != 403, what
                        assert tool == "read_text" or "agent_not_found" not in str(
                            found.structured_content
                        ), what
                    elif need == "writer" and user.role == "viewer":
                        assert statuses == [403, 403], what
                        assert texts[0] == texts[1], what
                    else:
                        assert statuses == [404, 404], what
                        assert texts[0] == texts[1], what
    assert {file: file.read_bytes() for file in before} == before
