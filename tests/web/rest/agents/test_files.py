"""Texts beside manifests: who sees them, and how an edit of one is made, refused and recorded."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.web.conftest import Make, Stack, echo

PROMPT = "Be kind.\nBe brief.\n"
FAQ = "# Hours\n\nNine to five.\n"
PROMPTED = """\
name: Sales
system_prompt_file: prompts/kind words.md
llm: {provider: echo.local}
rag: {sources: [faq.md]}
"""
PROMPT_PATH = "/api/agents/acme~sales/files/acme/prompts/kind%20words.md"
FAQ_PATH = "/api/agents/acme~sales/files/acme/faq.md"


def tag(text: str) -> str:
    """The ETag of a file."""
    return f'"{sha256(text.encode()).hexdigest()}"'


def settle(stack: Stack) -> None:
    """An agent with a prompt and knowledge, and one of somebody else."""
    stack.write("acme/sales.yaml", PROMPTED)
    stack.write("acme/prompts/kind words.md", PROMPT)
    stack.write("acme/faq.md", FAQ)
    stack.write("acme/secret.md", "Of no agent.\n")
    stack.write("globex/other.yaml", echo("Other"))
    stack.write("globex/other.md", "Theirs.\n")


@pytest.fixture
async def writing(make: Make) -> Stack:
    """A replica that writes files."""
    stack = await make(write_back="files")
    settle(stack)
    await stack.sync()
    return stack


async def test_a_prompt_and_knowledge_are_read(writing: Stack) -> None:
    """With their digests; nothing but what the agent names is a file of it."""
    _, found = await writing.get("/api/agents/acme~sales/files")
    assert [(one["path"], one["role"], one["is_text"]) for one in found["items"]] == [
        ("acme/prompts/kind words.md", "prompt", True),
        ("acme/faq.md", "knowledge", True),
    ]
    status, prompt = await writing.get(PROMPT_PATH)
    assert (status, prompt["text"], f'"{prompt["digest"]}"') == (200, PROMPT, tag(PROMPT))
    assert (await writing.get(FAQ_PATH))[1]["text"] == FAQ
    for other in ("acme/secret.md", "globex/other.md", "acme/../globex/other.md", "acme/sales.yaml"):
        assert (await writing.get(f"/api/agents/acme~sales/files/{other}"))[0] == 404
    assert await writing.get("/api/agents/echo/files") == (200, {"items": [], "next_cursor": None})


async def test_a_text_is_edited(writing: Stack) -> None:
    """A dry run shows the diff and changes nothing; the edit is live with its reply, and is on record."""
    text = PROMPT.replace("brief", "very brief")
    _, preview = await writing.ask("PUT", f"{PROMPT_PATH}?dry_run=true", json={"text": text})
    assert preview["path"] == "acme/prompts/kind words.md"
    assert "-Be brief.\n+Be very brief.\n" in preview["diff"]
    assert (writing.root / "acme/prompts/kind words.md").read_text() == PROMPT
    before = writing.registry.snapshot.version
    status, agent = await writing.ask(
        "PUT", PROMPT_PATH, json={"text": text}, headers={"If-Match": tag(PROMPT)}
    )
    assert (status, agent["slug"], agent["write_back"]["path"]) == (200, "acme/sales", preview["path"])
    assert agent["version"] == before + 1
    assert (writing.root / "acme/prompts/kind words.md").read_text() == text
    assert (await writing.get(PROMPT_PATH))[1]["text"] == text
    _, audit = await writing.get("/api/audit?agent=acme/sales")
    assert (audit["items"][0]["action"], audit["items"][0]["path"]) == ("write-text", preview["path"])
    status, agent = await writing.ask("PUT", FAQ_PATH, json={"text": "Ten to four.\n"})
    assert (status, agent["version"]) == (200, before + 2)


async def test_an_edit_is_refused(writing: Stack) -> None:
    """Of a file that changed, of what the agent does not name, and with a text that no sync would take."""
    (writing.root / "acme/faq.md").write_text("Changed by hand.\n")
    stale = {"If-Match": tag(FAQ)}
    assert (await writing.ask("PUT", FAQ_PATH, json={"text": "x"}, headers=stale))[0] == 412
    for other in ("acme/secret.md", "globex/other.md", "acme/sales.yaml", "acme/_user.yaml"):
        status, _ = await writing.ask("PUT", f"/api/agents/acme~sales/files/{other}", json={"text": "x"})
        assert status == 409
    for wrong in ({}, {"text": 1}, {"text": "a\0b"}):
        assert (await writing.ask("PUT", FAQ_PATH, json=wrong))[0] == 422
    assert (writing.root / "acme/faq.md").read_text() == "Changed by hand.\n"
    assert (writing.root / "acme/secret.md").read_text() == "Of no agent.\n"


async def test_where_there_are_no_files(make: Make) -> None:
    """A prompt is in memory; a source is where the files are; and nothing is written."""
    stack = await make()
    settle(stack)
    await stack.sync()
    assert (await stack.get(PROMPT_PATH))[1]["text"] == PROMPT
    status, problem = await stack.get(FAQ_PATH)
    assert (status, problem["code"]) == (404, "file_not_found")
    assert "acme/faq.md" in problem["hint"]
    assert (await stack.ask("PUT", FAQ_PATH, json={"text": "x"}))[0] == 405
