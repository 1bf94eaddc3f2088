"""GET /api/audit: who reads what of it, in pages."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from agentsd.control.status.audit import record_action
from agentsd.store.database import Database
from agentsd.web.views.pagination import encode_place
from tests.web.conftest import Stack, echo

USERS = (
    ("_user.yaml", "root", "admin"),
    ("acme/_user.yaml", "ci", "editor"),
    ("beta/_user.yaml", "tv", "viewer"),
)


def bearer(name: str) -> dict[str, str]:
    """The header of the token that is called so."""
    return {"Authorization": f"Bearer a-token-of-{name}"}


def user_file(name: str, role: str) -> str:
    """A user file with one token."""
    digest = sha256(f"a-token-of-{name}".encode()).hexdigest()
    return f"tokens:\n  - name: {name}\n    sha256: {digest}\n    role: {role}\n"


@pytest.fixture
async def guarded(stack: Stack) -> Stack:
    """Two owners with a token each, an admin, and five audit entries."""
    for path, name, role in USERS:
        stack.write(path, user_file(name, role))
    for path in ("acme/sales.yaml", "beta/desk.yaml", "support.yaml"):
        stack.write(path, echo("Agent"))
    await stack.sync()
    for actor, target, outcome, status in (
        ("acme/ci", "acme/sales", "done", 200),
        ("acme/ci", "acme/sales", "refused", 412),
        ("acme/ci", "beta/desk", "refused", 404),
        ("default/root", "beta/desk", "done", 200),
        ("default/root", "support", "done", 200),
    ):
        assert await record_action(stack.database, actor, "update", target, outcome=outcome, status=status)  # type: ignore[arg-type]
    return stack


async def entries(stack: Stack, who: str, query: str = "") -> list[tuple[str, str, str]]:
    """(actor, target, outcome) of a page, as ``who`` gets it."""
    status, body = await stack.get(f"/api/audit{query}", headers=bearer(who))
    assert status == 200
    return [(one["actor"], one["target"], one["outcome"]) for one in body["items"]]


async def test_an_admin_reads_every_entry(guarded: Stack) -> None:
    """Newest first; an owner or an agent narrows it."""
    assert await entries(guarded, "root") == [
        ("default/root", "support", "done"),
        ("default/root", "beta/desk", "done"),
        ("acme/ci", "beta/desk", "refused"),
        ("acme/ci", "acme/sales", "refused"),
        ("acme/ci", "acme/sales", "done"),
    ]
    assert len(await entries(guarded, "root", "?owner=acme")) == 2
    assert len(await entries(guarded, "root", "?agent=beta~desk")) == 2
    assert len(await entries(guarded, "root", "?agent=beta/desk&owner=beta")) == 1


async def test_others_read_what_was_done_to_their_own_agents(guarded: Stack) -> None:
    """Whatever the role; and nothing of who tried to write them and was not to know that they exist."""
    assert await entries(guarded, "ci") == [
        ("acme/ci", "acme/sales", "refused"),
        ("acme/ci", "acme/sales", "done"),
    ]
    assert await entries(guarded, "tv") == [("default/root", "beta/desk", "done")]


async def test_another_owner_is_like_none(guarded: Stack) -> None:
    """Asked for by name: the same bytes for one that exists and for one that does not."""
    replies = []
    for query in (
        "?owner=beta",
        "?owner=nobody",
        "?owner=",
        "?owner=default",
        "?agent=beta~desk",
        "?agent=x",
    ):
        async with guarded.client.get(f"{guarded.url}/api/audit{query}", headers=bearer("ci")) as reply:
            replies.append((reply.status, await reply.read(), reply.headers["ETag"]))
    assert set(replies) == {(200, b'{"items":[],"next_cursor":null}', replies[0][2])}


async def test_pages(guarded: Stack) -> None:
    """``next_cursor`` leads on until there is no more."""
    seen: list[Any] = []
    query = "?limit=2"
    while True:
        _, body = await guarded.get(f"/api/audit{query}", headers=bearer("root"))
        seen += [one["id"] for one in body["items"]]
        if body["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={body['next_cursor']}"
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5


async def test_a_token_is_needed(guarded: Stack) -> None:
    """As everywhere, once there is one."""
    assert (await guarded.get("/api/audit"))[0] == 401


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=201",
        "?cursor=x",
        f"?cursor={encode_place('entry', -1)}",
        f"?cursor={encode_place('entry', '9' * 19)}",
        f"?cursor={encode_place('revision', 1)}",
        "?before=1",
        "?onwer=acme",
        "?limit=1&limit=2",
        "?owner=" + "x" * 201,
        "?agent=%00",
        "?agent=a%0Ab",
    ],
)
async def test_a_bad_query(stack: Stack, query: str) -> None:
    """Told, never ignored and never a 500."""
    status, problem = await stack.get(f"/api/audit{query}")
    assert (status, problem["code"]) == (400, "invalid_request")


async def test_an_open_server_shows_it_to_this_machine(stack: Stack) -> None:
    """Its only user is an admin; a reply can be revalidated."""
    await record_action(stack.database, "default/local", "delete", "acme/x", outcome="done", status=200)
    async with stack.client.get(f"{stack.url}/api/audit") as reply:
        (one,) = (await reply.json())["items"]
        etag = reply.headers["ETag"]
    assert (one["actor"], one["user"], one["action"]) == ("default/local", "acme", "delete")
    async with stack.client.get(f"{stack.url}/api/audit", headers={"If-None-Match": etag}) as reply:
        assert reply.status == 304


async def test_postgres_is_away(stack: Stack, database: Database) -> None:
    """503, to be tried again."""
    await database.aclose()
    status, problem = await stack.get("/api/audit")
    assert (status, problem["code"]) == (503, "store_unavailable")
