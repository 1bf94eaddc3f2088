"""Signing in with a cookie, and the pages themselves, as any client sees them."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie

import aiohttp
import pytest

from agentsd.web.middleware.auth import SESSION_COOKIE
from agentsd.web.ui.assets import load_assets
from agentsd.web.ui.pages import CONTENT_POLICY, PAGES
from tests.web.conftest import Make, Stack
from tests.web.middleware.test_cors import UI, listed
from tests.web.people import ADMIN, ALICE, ANN, User, settle, write_users


@pytest.fixture
async def town(make: Make) -> Stack:
    """A replica that writes files, with every owner and every user."""
    stack = await make(write_back="files")
    await settle(stack)
    return stack


def cookie(user: User) -> dict[str, str]:
    """What a browser sends along by itself."""
    return {"Cookie": f"{SESSION_COOKIE}={user.token}"}


async def test_a_token_becomes_a_cookie_that_no_script_reads(town: Stack) -> None:
    """HttpOnly, for this site only, no longer than a month; the reply does not say the token."""
    async with town.client.post(f"{town.url}/api/session", headers=ALICE.headers) as reply:
        body = await reply.text()
        kept = SimpleCookie(reply.headers["Set-Cookie"])[SESSION_COOKIE]
    assert reply.status == 200
    assert kept.value == ALICE.token
    assert (kept["httponly"], kept["samesite"], kept["path"]) == (True, "Lax", "/")
    assert int(kept["max-age"]) == 30 * 24 * 3600
    assert not kept["secure"]
    assert ALICE.token not in body
    async with town.client.post(
        f"{town.url}/api/session",
        headers={**ALICE.headers, "Origin": f"https://{town.url.removeprefix('http://')}"},
    ) as reply:
        assert SimpleCookie(reply.headers["Set-Cookie"])[SESSION_COOKIE]["secure"] is True


async def test_a_wrong_token_becomes_none(town: Stack) -> None:
    """401, and no cookie."""
    headers = {"Authorization": "Bearer agentsd_not-this-one-at-all"}
    async with town.client.post(f"{town.url}/api/session", headers=headers) as reply:
        assert reply.status == 401
        assert "Set-Cookie" not in reply.headers


async def test_the_session_is_the_token_s(town: Stack) -> None:
    """Owner and role come from it; what others own stays hidden; a revoked token ends the session."""
    status, session = await town.get("/api/session", headers=cookie(ANN))
    assert (status, session["user"], session["role"]) == (200, "acme", "viewer")
    assert (session["guarded"], session["write_back"]) == (True, "files")
    assert (await town.get("/api/agents/acme~sales", headers=cookie(ANN)))[0] == 200
    assert (await town.get("/api/agents/globex~sales", headers=cookie(ANN)))[0] == 404
    write_users(town, "acme", [ALICE])
    await town.sync()
    assert (await town.get("/api/session", headers=cookie(ANN)))[0] == 401


async def test_the_header_counts_more_than_the_cookie(town: Stack) -> None:
    """A client that says who it is is that, whatever its browser adds."""
    _, session = await town.get("/api/session", headers={**ALICE.headers, **cookie(ADMIN)})
    assert session["user"] == "acme"
    wrong = {"Authorization": "Bearer agentsd_not-this-one-at-all"}
    assert (await town.get("/api/session", headers={**wrong, **cookie(ADMIN)}))[0] == 401


@pytest.mark.parametrize("origin", [None, "null", "http://127.0.0.1:1", "https://evil.example"])
async def test_another_page_cannot_make_the_browser_write(town: Stack, origin: str | None) -> None:
    """A cookie alone changes nothing: only our own pages send it with their origin."""
    headers = cookie(ADMIN) | ({"Origin": origin} if origin else {})
    for method, path in (("PATCH", "/api/agents/acme~sales"), ("POST", "/v1/chat/completions")):
        status, problem = await town.ask(method, path, headers=headers, json={"description": "x"})
        assert status == 403, problem
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await town.client.ws_connect(f"{town.url}/v1/realtime?model=acme/sales", headers=headers)
    assert refused.value.status == 403
    assert "x" not in (town.root / "acme/sales.yaml").read_text().split("description:")[-1].splitlines()[0]


async def test_a_page_that_came_in_plain_text_is_not_our_own(town: Stack) -> None:
    """Host and port are the same for https and http: the browser tells whether the page is of one origin."""
    headers = {**cookie(ALICE), "Origin": town.url}
    path = "/api/agents/acme~orders/set-default"
    for site in ("cross-site", "same-site", "none"):
        assert (await town.ask("POST", path, headers={**headers, "Sec-Fetch-Site": site}))[0] == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await town.client.ws_connect(
                f"{town.url}/v1/realtime?model=acme/sales", headers={**headers, "Sec-Fetch-Site": site}
            )
    assert (await town.ask("POST", path, headers={**ALICE.headers, "Sec-Fetch-Site": "cross-site"}))[0] == 200
    headers["Sec-Fetch-Site"] = "same-origin"
    assert (await town.ask("POST", "/api/agents/acme~sales/set-default", headers=headers))[0] == 200


async def test_our_own_page_writes_and_calls(town: Stack) -> None:
    """With the cookie and this server's own origin."""
    headers = {**cookie(ALICE), "Origin": town.url}
    status, _ = await town.ask("PATCH", "/api/agents/acme~sales", headers=headers, json={"name": "Mine"})
    assert status == 200
    async with town.client.ws_connect(f"{town.url}/v1/realtime?model=acme/sales", headers=headers) as socket:
        assert (await socket.receive_json())["type"] == "session.created"


async def test_a_listed_page_of_another_origin_gets_no_cookies(make: Make) -> None:
    """CORS is for tokens in headers: a listed page does not act with its visitor's cookie."""
    stack = await listed(make)
    headers = {"Cookie": f"{SESSION_COOKIE}=a-token-of-32-characters-or-more!", "Origin": UI}
    status, _ = await stack.ask("POST", "/v1/chat/completions", headers=headers, json={})
    assert status in (401, 403)


async def test_signing_out_drops_the_cookie(town: Stack) -> None:
    """The browser is told to forget it."""
    headers = {**cookie(ALICE), "Origin": town.url}
    async with town.client.delete(f"{town.url}/api/session", headers=headers) as reply:
        assert reply.status == 200
        assert SimpleCookie(reply.headers["Set-Cookie"])[SESSION_COOKIE]["max-age"] == "0"


async def test_pages_hold_nothing_of_anybody(town: Stack) -> None:
    """The same bytes for all, no inline code, nothing from elsewhere, and a policy that forbids both."""
    for path in ("/ui/missing", *(f"/ui/{page.name}" for page in PAGES)):
        bodies = set()
        for headers in ({}, ADMIN.headers, cookie(ANN)):
            async with town.client.get(town.url + path, headers=headers) as reply:
                assert reply.status == (404 if path == "/ui/missing" else 200)
                assert reply.headers["Content-Security-Policy"] == CONTENT_POLICY
                assert reply.headers["X-Content-Type-Options"] == "nosniff"
                bodies.add(await reply.text())
        [body] = bodies
        assert "Acme" not in body  # an agent's name; placeholders are examples
        assert "ops@" not in body
        assert "://" not in body
        assert "<script>" not in body
        assert "style=" not in body
        assert not re.search(r"<[^>]*\son\w+=", body)


async def test_files_are_kept_by_edition(town: Stack) -> None:
    """For good under their own address, not at all under another; packed for who can unpack."""
    edition = load_assets().edition
    for name in load_assets().named:
        async with town.client.get(f"{town.url}/ui/static/{edition}/{name}") as reply:
            assert reply.status == 200
            assert "immutable" in reply.headers["Cache-Control"]
            assert await reply.read() == load_assets().named[name].data
    async with town.client.get(f"{town.url}/ui/static/0123/js/shell.js") as reply:
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-cache")
    async with town.client.get(
        f"{town.url}/ui/static/{edition}/js/shell.js", headers={"Accept-Encoding": "identity"}
    ) as reply:
        assert "Content-Encoding" not in reply.headers
        assert await reply.read() == load_assets().named["js/shell.js"].data
    for name in ("js/nothing.js", "../pages.py", "%2e%2e/pages.py"):
        async with town.client.get(f"{town.url}/ui/static/{edition}/{name}") as reply:
            assert reply.status == 404


async def test_the_first_page(stack: Stack) -> None:
    """Whoever opens the address that ``up`` prints finds the agents."""
    async with stack.client.get(stack.url, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (302, "/ui/agents")
