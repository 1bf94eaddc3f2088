"""GET /api/agents and its like, over real sockets and real Postgres."""

from __future__ import annotations

from yarl import URL

from agentsd.core.secret import MASK
from agentsd.web.views.pagination import encode_place
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import CANARY, Stack, echo, vendor_manifest

FIELDS = {
    "id", "user", "slug", "name", "description", "system_prompt", "is_default", "is_active",
    "llm_provider_config", "tts_provider_config", "stt_provider_config", "rag_config", "digest",
    "version", "source", "path", "commit", "created_at", "updated_at", "condition", "status",
    "serving_version",
    "system_prompt_file", "greeting", "language", "turn", "checks", "embedding_provider_config",
    "lacks", "on_error", "tools", "tool_rounds", "variables", "overrides", "handoff",
}  # fmt: skip


async def test_an_agent_has_the_fields_of_the_table(three: Stack) -> None:
    """All fields of the design, with the manifest's values."""
    status, agent = await three.get("/api/agents/acme~sales")
    assert status == 200
    assert agent.keys() == FIELDS
    assert (agent["user"], agent["slug"], agent["name"]) == ("acme", "acme/sales", "Sales")
    assert agent["llm_provider_config"] == {"provider": "echo.local"}
    assert agent["tts_provider_config"] == agent["rag_config"] == {}
    assert agent["path"] == "acme/sales.yaml"
    assert agent["condition"]["type"] == "Ready"


async def test_slug_tilde_percent_and_id_name_the_same_agent(three: Stack) -> None:
    """Four ways to write one name."""
    _, agent = await three.get("/api/agents/acme~sales")
    for ref in ("acme%2Fsales", "acme%2fsales", agent["id"], agent["id"].upper()):
        async with three.client.get(URL(f"{three.url}/api/agents/{ref}", encoded=True)) as reply:
            assert (await reply.json())["id"] == agent["id"]


async def test_a_secret_is_masked_and_its_seal_too(stack: Stack, vendor: OpenAIServer) -> None:
    """Neither plaintext nor ciphertext leaves the server; the rest of the section does."""
    stack.write("sales.yaml", vendor_manifest(vendor.url), sealed=True)
    await stack.sync()
    status, agent = await stack.get("/api/agents/sales")
    assert status == 200
    assert agent["llm_provider_config"]["api_key"] == MASK
    assert agent["llm_provider_config"]["api_url"] == MASK  # it is sealed as well
    assert agent["llm_provider_config"]["model"] == "m"
    assert "sops" not in agent["llm_provider_config"]


async def test_an_unknown_agent_is_a_problem(three: Stack) -> None:
    """404 as problem+json, with the near name of the same folder."""
    async with three.client.get(f"{three.url}/api/agents/suport") as reply:
        assert reply.status == 404
        assert reply.content_type == "application/problem+json"
        problem = await reply.json()
    assert problem["type"] == "urn:agentsd:problem:agent_not_found"
    assert "'support'" in problem["hint"]


async def test_an_etag_saves_the_body_until_something_changes(three: Stack) -> None:
    """304 for the same, whatever the list around it; 200 after a change. The tag holds the digest."""
    url = f"{three.url}/api/agents/support"
    async with three.client.get(url) as reply:
        etag = reply.headers["ETag"]
        assert (await reply.json())["digest"] in etag
        assert "Authorization" in reply.headers["Vary"]
    for header in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        async with three.client.get(url, headers={"If-None-Match": header}) as reply:
            assert reply.status == 304
            assert reply.headers["ETag"] == etag
            assert await reply.read() == b""
    for header in ('"x"', "nonsense", "", etag.strip('"')):
        async with three.client.get(url, headers={"If-None-Match": header}) as reply:
            assert reply.status == 200
    three.write("support.yaml", echo("Support II", default=True))
    await three.sync()
    async with three.client.get(url, headers={"If-None-Match": etag}) as reply:
        assert reply.status == 200
        assert reply.headers["ETag"] != etag


async def test_head_is_get_without_a_body(three: Stack) -> None:
    """The same headers, no body."""
    async with three.client.get(f"{three.url}/api/agents/support") as reply:
        length, etag = len(await reply.read()), reply.headers["ETag"]
    async with three.client.head(f"{three.url}/api/agents/support") as reply:
        assert (reply.status, await reply.read()) == (200, b"")
        assert reply.headers["Content-Length"] == str(length)
        assert reply.headers["ETag"] == etag


async def test_current_is_cookie_then_default_then_built_in(stack: Stack) -> None:
    """Each gives way to the one before it."""
    status, agent = await stack.get("/api/agents/current")
    assert (status, agent["slug"], agent["source"]) == (200, "echo", "built-in")
    assert agent.keys() == FIELDS
    stack.write("support.yaml", echo("Support", default=True))
    stack.write("sales.yaml", echo("Sales"))
    await stack.sync()
    assert (await stack.get("/api/agents/current"))[1]["slug"] == "support"
    _, chosen = await stack.get("/api/agents/sales")
    cookies = {"agentsd_agent": chosen["id"]}
    assert (await stack.get("/api/agents/current", cookies=cookies))[1]["slug"] == "sales"
    for stale in ("00000000-0000-0000-0000-000000000000", "x", "\\"):
        got = await stack.get("/api/agents/current", cookies={"agentsd_agent": stale})
        assert got[1]["slug"] == "support"


async def test_select_sets_a_cookie_that_current_follows(three: Stack) -> None:
    """HttpOnly and SameSite=Lax; a rename keeps the choice, a suspension does not."""
    three.write("sales.yaml", "id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11\n" + echo("Sales"))
    await three.sync()
    async with three.client.post(f"{three.url}/api/agents/sales/select") as reply:
        assert reply.status == 200
        cookie = reply.cookies["agentsd_agent"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
        assert (await reply.json())["slug"] == "sales"
    cookies = {"agentsd_agent": cookie.value}
    (three.root / "sales.yaml").rename(three.root / "vendas.yaml")
    await three.sync()
    assert (await three.get("/api/agents/current", cookies=cookies))[1]["slug"] == "vendas"
    text = (three.root / "vendas.yaml").read_text().replace("active: true", "active: false")
    three.write("vendas.yaml", text)
    await three.sync()
    assert (await three.get("/api/agents/current", cookies=cookies))[1]["slug"] == "support"
    status, problem = await three.ask("POST", "/api/agents/vendas/select")
    assert (status, problem["code"]) == (409, "agent_suspended")
    assert (await three.ask("POST", "/api/agents/nobody/select"))[0] == 404


WRITES = [
    ("PUT", "/api/agents/acme~sales", "agents.d/acme/sales.yaml"),
    ("PATCH", "/api/agents/acme%2Fsales", "agents.d/acme/sales.yaml"),
    ("DELETE", "/api/agents/support", "agents.d/support.yaml"),
    ("DELETE", "/api/agents/current", "agents.d/support.yaml"),
    ("PUT", "/api/agents/brand~new", "agents.d/brand/new.yaml"),
    ("POST", "/api/agents/support/set-default", "agents.d/support.yaml"),
    ("POST", "/api/agents/support/rollback", "agents.d/support.yaml"),
    ("POST", "/api/agents", "agents.d/NAME.yaml"),
    ("PUT", "/api/agents/..~..~etc", "agents.d/NAME.yaml"),
]


async def test_a_write_is_a_405_that_names_the_file(three: Stack) -> None:
    """It says what to edit and how to make it live, and changes nothing."""
    _, before = await three.get("/api/agents")
    for method, path, file in WRITES:
        async with three.client.request(method, three.url + path, json={"name": CANARY}) as reply:
            assert reply.status == 405
            assert "Allow" in reply.headers
            assert reply.content_type == "application/problem+json"
            problem = await reply.json()
        assert problem["code"] == "read_only"
        assert file in problem["detail"] + problem["hint"]
        assert "agentsd sync" in problem["hint"] or "chat" in problem["hint"]
    assert (await three.get("/api/agents"))[1] == before


async def test_revisions_come_from_postgres(three: Stack) -> None:
    """Newest first, paged by version, masked; a deleted agent's are found by its id."""
    _, agent = await three.get("/api/agents/support")
    for name in ("Second", "Third"):
        three.write("support.yaml", echo(name, default=True))
        await three.sync()
    status, page = await three.get("/api/agents/support/revisions?limit=2")
    assert status == 200
    assert [item["system_prompt"] for item in page["items"]] == ["You are Third.", "You are Second."]
    _, rest = await three.get(f"/api/agents/support/revisions?cursor={page['next_cursor']}")
    assert [item["operation"] for item in rest["items"]] == ["create"]
    assert rest["next_cursor"] is None
    (three.root / "support.yaml").unlink()
    await three.sync()
    status, gone = await three.get(f"/api/agents/{agent['id']}/revisions")
    assert (status, gone["items"][0]["operation"]) == (200, "delete")
    assert (await three.get("/api/agents/support/revisions"))[0] == 404
    assert (await three.get(f"/api/agents/{agent['id'][:-4]}0000/revisions"))[0] == 404
    for query in ("cursor=x", f"cursor={encode_place('revision', '9' * 40)}", "before=1", "limit=0"):
        assert (await three.get(f"/api/agents/idle/revisions?{query}"))[0] == 400


async def test_providers_are_described_without_values_of_secrets(stack: Stack) -> None:
    """Every kind's vendors with JSON Schema; secret fields are write-only and have no example."""
    status, kinds = await stack.get("/api/providers")
    assert status == 200
    assert kinds.keys() == {"llm", "tts", "stt", "embedding"}
    groq = kinds["llm"]["groq.com"]
    assert groq["secrets"] == ["api_key"]
    field = groq["schema"]["properties"]["api_key"]
    assert not {"default", "examples"} & field.keys()
    assert "model" in groq["schema"]["properties"]
