"""Texts beside manifests: who sees them, and how an edit of one is made, refused and recorded."""

from __future__ import annotations

from hashlib import sha256

import pytest

from agentsd.control.writeback.delivery import WriteMode
from tests.web import people
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


@pytest.mark.parametrize("mode", ["files", "off"])
async def test_rights_are_those_of_an_edit(make: Make, mode: WriteMode) -> None:
    """A viewer reads; another owner's agent is not there; nobody without a token is heard; off is off."""
    stack = await make(write_back=mode)
    await people.settle(stack)
    stack.write("acme/sales.yaml", PROMPTED)
    stack.write("acme/prompts/kind words.md", PROMPT)
    stack.write("acme/faq.md", FAQ)
    await stack.sync()
    for user, read, written in ((people.ANN, 200, 403), (people.GUS, 404, 404), (people.ALICE, 200, 200)):
        headers = user.headers
        assert (await stack.get(PROMPT_PATH, headers=headers))[0] == read
        put = await stack.ask("PUT", PROMPT_PATH, json={"text": user.owner}, headers=headers)
        assert put[0] == (written if mode == "files" else 405)
        if user is not people.ALICE:
            url = f"{PROMPT_PATH}?dry_run=true"
            assert (await stack.ask("PUT", url, json={"text": "x"}, headers=headers))[0] == written
    for method in ("GET", "PUT"):
        assert (await stack.ask(method, PROMPT_PATH, json={"text": "x"}))[0] == 401
    kept = (stack.root / "acme/prompts/kind words.md").read_text()
    assert kept == ("acme" if mode == "files" else PROMPT)


LINKED = {
    "manifest": "other.yaml",
    "user": "_user.yaml",
    "git": ".git/HEAD",
    "hidden": ".hidden",
    "seal": ".sops.yaml",
}


@pytest.mark.parametrize("kind", LINKED)
async def test_a_link_makes_no_text_of_another_file(writing: Stack, kind: str) -> None:
    """A file that became a link with the name of a text: it is neither read nor written through it."""
    target = writing.root / "acme" / LINKED[kind]
    target.parent.mkdir(exist_ok=True)
    target.write_text("as it was")
    (writing.root / "acme/faq.md").unlink()
    (writing.root / "acme/faq.md").symlink_to(LINKED[kind])
    assert (await writing.get(FAQ_PATH))[0] == 404
    for query in ("", "?dry_run=true"):
        assert (await writing.ask("PUT", FAQ_PATH + query, json={"text": "mine"}))[0] == 409
    assert target.read_text() == "as it was"


async def test_a_sealed_text_is_not_replaced_by_a_plain_one(writing: Stack) -> None:
    """Nor shown: what sops encrypted as a whole is no text to edit."""
    sealed = '{"data": "ENC[AES256_GCM,data:YQ==,type:str]", "sops": {}}'
    (writing.root / "acme/faq.md").write_text(sealed)
    assert (await writing.get(FAQ_PATH))[0] == 404
    assert (await writing.ask("PUT", FAQ_PATH, json={"text": "plain"}))[0] == 409
    assert (await writing.ask("PUT", PROMPT_PATH, json={"text": sealed}))[0] == 422
    assert (writing.root / "acme/faq.md").read_text() == sealed


async def test_bytes_that_are_no_text_are_not_shown_as_one(writing: Stack) -> None:
    """A page that saved what it was shown would write the marks of what could not be read."""
    (writing.root / "acme/faq.md").write_bytes("caf\xe9".encode("latin-1"))
    assert (await writing.get(FAQ_PATH))[0] == 404


@pytest.mark.parametrize("form", ["W/{}", "{}-gzip", "W/{}-br", "{}--gzip", "{};gzip"])
async def test_a_tag_that_a_proxy_rewrote(writing: Stack, form: str) -> None:
    """Proxies that compress mark a tag as weak or give it an ending; a stale one is still refused."""
    for digest, status in ((tag(FAQ), 200), (tag("old"), 412)):
        weak, _, ending = form.partition("{}")
        sent = f'{weak}"{digest[1:-1]}{ending}"'
        url = f"{FAQ_PATH}?dry_run=true"
        assert (await writing.ask("PUT", url, json={"text": "x"}, headers={"If-Match": sent}))[0] == status
        async with writing.client.get(writing.url + FAQ_PATH, headers={"If-None-Match": sent}) as reply:
            assert reply.status == (304 if status == 200 else 200)


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
