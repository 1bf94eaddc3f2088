"""GET /api/agents/{agent}/values: what every layer says, masked, at its place."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from agentsd.core.manifest.agent import AgentRow, Attachment
from agentsd.core.masker import Masker
from agentsd.core.secret import MASK
from agentsd.providers.catalog import Catalog
from agentsd.web.rest.agents.values import list_values
from tests.web.conftest import CANARY, Stack, echo

TOP = f"""\
language: en
llm:
  provider: openai-compatible
  api_key: {CANARY}
  api_url: https://llm.example
  model: small
  fallback:
    - provider: openai-compatible
      api_url: https://other.example
      api_key: {CANARY}
      model: spare
"""
OWN = """\
id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11
name: A
system_prompt: |
  You sell.
  Politely.

# mine
llm:
  model: "large"
turn: {interrupt: false}
"""
NOTHING = {"items": [], "next_cursor": None}
TEXT = "You sell.\nPolitely.\n"
VALUES = [
    ("language", "en", "acme/_defaults.yaml", 1, 1),
    ("llm.provider", "openai-compatible", "acme/_defaults.yaml", 3, 5),
    ("llm.api_key", MASK, "acme/_defaults.yaml", 4, 5),
    ("llm.api_url", MASK, "acme/_defaults.yaml", 5, 5),
    ("llm.model", "large", "acme/a.yaml", 9, 3),
    ("llm.fallback[0].provider", "openai-compatible", "acme/_defaults.yaml", 8, 11),
    ("llm.fallback[0].api_url", MASK, "acme/_defaults.yaml", 9, 11),
    ("llm.fallback[0].api_key", MASK, "acme/_defaults.yaml", 10, 11),
    ("llm.fallback[0].model", "spare", "acme/_defaults.yaml", 11, 11),
    ("id", "3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11", "acme/a.yaml", 1, 1),
    ("name", "A", "acme/a.yaml", 2, 1),
    ("system_prompt", TEXT, "acme/a.yaml", 3, 1),
    ("turn.interrupt", False, "acme/a.yaml", 10, 8),
]


async def test_every_value_is_told_with_its_place(stack: Stack) -> None:
    """Of all layers, in the merge's order; a secret and a sealed value are masked, in lists, too."""
    stack.write("acme/_defaults.yaml", TOP, sealed=True)
    stack.write("acme/a.yaml", OWN)
    await stack.sync()
    _, agent = await stack.get("/api/agents/acme~a")
    for ref in ("acme~a", agent["id"]):
        status, told = await stack.get(f"/api/agents/{ref}/values")
        assert status == 200
        places = [
            tuple(item[key] for key in ("pointer", "value", "path", "line", "column"))
            for item in told["items"]
        ]
        assert places == VALUES
        assert {item["pointer"] for item in told["items"] if item["secret"]} == {
            pointer for pointer, value, *_ in VALUES if value == MASK
        }
        assert {name: told[name] for name in ("digest", "commit", "version")} == {
            name: agent[name] for name in ("digest", "commit", "version")
        }


async def test_the_built_in_agent_stands_in_no_file(stack: Stack) -> None:
    """By its name, and where it is the current one."""
    for ref in ("echo", "current"):
        status, told = await stack.get(f"/api/agents/{ref}/values")
        assert (status, told) == (200, {**NOTHING, "digest": "", "commit": None, "version": 0})
    stack.write("support.yaml", echo("Support", default=True))
    await stack.sync()
    _, told = await stack.get("/api/agents/current/values")
    name = {"pointer": "name", "value": "Support", "secret": False}
    assert told["items"][0] == {**name, "path": "support.yaml", "line": 1, "column": 1}


async def test_values_come_in_pages(stack: Stack) -> None:
    """In the order of the manifest, each once."""
    stack.write("support.yaml", echo("Support"))
    await stack.sync()
    path = "/api/agents/support/values"
    _, whole = await stack.get(path)
    seen, query = [], "?limit=2"
    while query:
        _, page = await stack.get(path + query)
        assert len(page["items"]) <= 2
        seen += page["items"]
        query = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == whole["items"]
    assert len(seen) == 6
    assert (await stack.get(f"{path}?cursor=x"))[0] == 400


async def test_an_agent_that_is_not_there(stack: Stack) -> None:
    """The same problem as that of the agent itself."""
    assert await stack.get("/api/agents/nobody/values") == await stack.get("/api/agents/nobody")


async def test_values_can_be_revalidated(stack: Stack) -> None:
    """304 until a file changes."""
    stack.write("support.yaml", echo("Support"))
    await stack.sync()
    url = f"{stack.url}/api/agents/support/values"
    async with stack.client.get(url) as reply:
        etag = reply.headers["ETag"]
        assert {"Authorization", "Cookie"} <= set(reply.headers["Vary"].split(", "))
    async with stack.client.get(url, headers={"If-None-Match": etag}) as reply:
        assert reply.status == 304
    stack.write("support.yaml", "# moved down\n" + echo("Support"))
    await stack.sync()
    async with stack.client.get(url, headers={"If-None-Match": etag}) as reply:
        assert reply.status == 200
        assert (await reply.json())["items"][0]["line"] == 2


@pytest.mark.parametrize(
    ("data", "layer"), [(b"a: [", b"x: y\n"), (b"a: b\n", b"\xff"), (b"a: b\n", b""), (b"{}\n", b"{}\n")]
)
def test_what_cannot_be_read_says_nothing(data: bytes, layer: bytes, catalog: Catalog) -> None:
    """Neither does what is empty; the condition says why."""
    now = datetime.now(UTC)
    row = AgentRow(
        id=uuid4(), slug="a", owner="default", source="main", path="a.yaml", version=1, digest=b"",
        is_default=False, is_active=True, name="A", commit=None, created_at=now, updated_at=now, data=data,
        layers=(Attachment("_defaults.yaml", b"", layer),),
    )  # fmt: skip
    assert list_values(row, Masker(), catalog.destinations) == []
