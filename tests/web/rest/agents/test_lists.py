"""GET /api/agents: pages, filters, orders and summaries, over real sockets and real Postgres."""

from __future__ import annotations

from typing import Any

from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack, echo, vendor_manifest


async def _pages(stack: Stack, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    url = f"{stack.url}/api/agents?{query}"
    while url:
        async with stack.client.get(url) as reply:
            assert reply.status == 200
            page = await reply.json()
            found += page["items"]
            following = reply.links.get("next")
            url = str(following["url"]) if following else ""
            assert bool(page["next_cursor"]) == bool(url)
    return found


async def test_pages_follow_each_other_by_link(stack: Stack) -> None:
    """Every agent once, in order, whatever the page's size; the total is of the whole."""
    for number in range(23):
        stack.write(f"team/a{number:02}.yaml", echo(f"A{number}"))
    await stack.sync()
    whole = await _pages(stack, "")
    assert [agent["slug"] for agent in whole] == [f"team/a{number:02}" for number in range(23)]
    assert await _pages(stack, "limit=5") == whole
    assert len(await _pages(stack, "limit=2&q=A1&owner=team&active=true")) == 11
    _, page = await stack.get("/api/agents?limit=1")
    assert page["total"] == 23


SUMMARY = {
    "id", "user", "slug", "name", "description", "is_default", "is_active", "version", "serving_version",
    "commit", "path", "source", "updated_at", "condition", "status", "providers", "lacks",
}  # fmt: skip


async def test_a_summary_is_what_a_list_shows(three: Stack, vendor: OpenAIServer) -> None:
    """Its fields as the whole agent has them, and the vendors of the sections that there are."""
    three.write("sealed.yaml", vendor_manifest(vendor.url) + "tts: {provider: kokoro.local}\n", sealed=True)
    await three.sync()
    _, page = await three.get("/api/agents?view=summary")
    _, whole = await three.get("/api/agents")
    assert [one["slug"] for one in page["items"]] == [one["slug"] for one in whole["items"]]
    assert (page["total"], page["version"], page["next_cursor"]) == (4, whole["version"], None)
    for brief, one in zip(page["items"], whole["items"], strict=True):
        assert brief.keys() == SUMMARY
        named = {kind: one[f"{kind}_provider_config"].get("provider") for kind in ("llm", "tts", "stt")}
        assert brief.pop("providers") == {kind: name for kind, name in named.items() if name}
        assert brief == {name: one[name] for name in brief}
    assert page["items"][2]["slug"] == "sealed"
    assert whole["items"][2]["tts_provider_config"]["provider"] == "kokoro.local"


ORDERS = [
    ("slug", ["acme/sales", "b", "c", "idle"]),
    ("-slug", ["idle", "c", "b", "acme/sales"]),
    ("name", ["acme/sales", "c", "idle", "b"]),
    ("-name", ["b", "c", "idle", "acme/sales"]),
    ("version", ["acme/sales", "idle", "b", "c"]),
    ("-updated_at", ["c", "b", "acme/sales", "idle"]),
    ("condition", ["acme/sales", "b", "c", "idle"]),
    ("-condition", ["idle", "acme/sales", "b", "c"]),
]


async def test_orders(stack: Stack) -> None:
    """By each key, both ways; equal ones by slug. A link leads through the same list in the same order."""
    stack.write("acme/sales.yaml", echo("Alpha"))
    stack.write("idle.yaml", echo("bravo", active=False))
    await stack.sync()
    stack.write("b.yaml", echo("Charlie"))
    await stack.sync()
    stack.write("c.yaml", echo("Bravo"))
    await stack.sync()
    for sort, expected in ORDERS:
        _, page = await stack.get(f"/api/agents?sort={sort}")
        assert [one["slug"] for one in page["items"]] == expected, sort
        walked = await _pages(stack, f"sort={sort}&view=summary&limit=2&active=true")
        assert [one["slug"] for one in walked] == [slug for slug in expected if slug != "idle"], sort
        assert {"providers"} <= walked[0].keys()


async def test_a_list_in_another_order_goes_on_when_agents_come_and_go(three: Stack) -> None:
    """By place, not by number; and a cursor leads on in its own order only."""
    _, page = await three.get("/api/agents?sort=-name&limit=1")
    assert [one["slug"] for one in page["items"]] == ["support"]
    three.write("top.yaml", echo("Top"))
    three.write("mid.yaml", echo("Mid"))
    (three.root / "support.yaml").unlink()
    await three.sync()
    cursor = page["next_cursor"]
    _, page = await three.get(f"/api/agents?sort=-name&cursor={cursor}")
    assert [one["slug"] for one in page["items"]] == ["acme/sales", "mid", "idle"]
    for query in ("", "&sort=name", "&sort=-slug"):
        status, problem = await three.get(f"/api/agents?cursor={cursor}{query}")
        assert (status, problem["param"]) == (400, "cursor")


FILTERS = [
    ("condition=Suspended", ["idle"]),
    ("condition=Ready&view=summary", ["acme/sales", "support"]),
    ("condition=Invalid", []),
    ("sort=-slug&q=s&limit=2", ["support", "acme/sales"]),
    ("owner=acme", ["acme/sales"]),
    ("owner=nobody", []),
    ("active=false", ["idle"]),
    ("active=1", ["acme/sales", "support"]),
    ("q=SAL", ["acme/sales"]),
    ("provider=echo.local", ["acme/sales", "idle", "support"]),
    ("provider=groq.com", []),
    ("provider=You", []),
]


async def test_filters(three: Stack) -> None:
    """By owner, text, activity and vendor."""
    for query, slugs in FILTERS:
        status, page = await three.get(f"/api/agents?{query}")
        assert status == 200
        assert [agent["slug"] for agent in page["items"]] == slugs
        assert page["total"] == len(slugs)


async def test_a_filter_by_vendor_follows_the_files(three: Stack, vendor: OpenAIServer) -> None:
    """An agent that changes its vendor is found by the new one and not by the old one."""
    for provider, count in (("echo.local", 3), ("openai-compatible", 0)):
        _, page = await three.get(f"/api/agents?provider={provider}&view=summary")
        assert page["total"] == count
    three.write("support.yaml", vendor_manifest(vendor.url), sealed=True)
    await three.sync()
    for provider, found in (("echo.local", ["acme/sales", "idle"]), ("openai-compatible", ["support"])):
        _, page = await three.get(f"/api/agents?provider={provider}&view=summary")
        assert [one["slug"] for one in page["items"]] == found


BAD_QUERIES = (
    "limit=0", "limit=1001", "limit=x", "cursor=%00", "cursor=AAAA", "active=perhaps", "onwer=x", "q=a&q=b",
    "cursor=%ff%fe", "q=" + "x" * 300, "sort=age", "sort=name&sort=slug", "condition=Broken", "view=x",
    "sort=-version&cursor=MTph",
)  # fmt: skip


async def test_a_bad_query_is_a_400(stack: Stack) -> None:
    """Never a 500, never silently ignored."""
    for query in BAD_QUERIES:
        status, problem = await stack.get(f"/api/agents?{query}")
        assert (status, problem["code"]) == (400, "invalid_request"), query


async def test_the_list_has_an_etag(three: Stack) -> None:
    """A poll of an unchanged list costs no body."""
    async with three.client.get(f"{three.url}/api/agents") as reply:
        etag = reply.headers["ETag"]
    async with three.client.get(f"{three.url}/api/agents", headers={"If-None-Match": etag}) as reply:
        assert reply.status == 304
