"""Access as it comes and goes: tokens in files, through sync, into a server that runs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentsd.cli.compose.runtime import _refuse_lockout
from agentsd.core.errors import ConfigError
from agentsd.runtime.follower.token_index import TokenIndex
from agentsd.store.database import Database
from agentsd.web.middleware.auth import AccessPolicy, FileTokens
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Make, Stack, echo, vendor_manifest
from tests.web.people import ADMIN, ALICE, ANN, GUS, User, settle, write_users

OPERATOR = "a-token-of-the-operators-file"
OF_FILE = FileTokens((sha256(OPERATOR.encode()).digest(),))
BEARER = {"Authorization": f"Bearer {OPERATOR}"}
CALL = "/v1/realtime?model=acme/sales"


@pytest.fixture
async def town(stack: Stack) -> Stack:
    """A replica with every owner and every user."""
    await settle(stack)
    return stack


async def status(stack: Stack, user: User, path: str = "/api/agents") -> int:
    """Of a GET."""
    return (await stack.get(path, headers=user.headers))[0]


async def read_to_the_end(reply: aiohttp.ClientResponse) -> bytes:
    """Whatever still comes; fails where it goes on."""
    async with asyncio.timeout(20):
        return await reply.content.read()


@asynccontextmanager
async def listening(stack: Stack, user: User) -> AsyncIterator[aiohttp.ClientResponse]:
    """An event stream that was greeted."""
    async with stack.client.get(f"{stack.url}/api/events", headers=user.headers) as reply:
        assert reply.status == 200
        while not (await reply.content.readline()).startswith(b"data:"):
            pass
        yield reply
        reply.close()


async def test_revoking_ends_access_live(town: Stack, vendor: OpenAIServer) -> None:
    """An edit of the file, synced: requests are 401, streams end, calls close with 1008; others go on."""
    vendor.words, vendor.delay = ("one ", "two ", "three ", "four"), 0.1
    town.write("acme/slow.yaml", vendor_manifest(vendor.url), sealed=True)
    await town.sync()
    chat = {"model": "acme/slow", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with (
        listening(town, ALICE) as lost,
        listening(town, ANN) as kept,
        town.client.ws_connect(town.url + CALL, headers=ALICE.headers) as call,
        town.client.ws_connect(town.url + CALL, headers=ANN.headers) as other,
        town.client.post(f"{town.url}/v1/chat/completions", json=chat, headers=ALICE.headers) as talk,
    ):
        assert await talk.content.readline()  # the stream is under way
        write_users(town, "acme", [ANN])
        town.write("acme/new.yaml", echo("New"))
        await town.sync()
        assert await status(town, ALICE) == 401
        assert await status(town, ANN) == 200
        assert b"acme/new" not in await read_to_the_end(lost)
        assert await closed(call) == 1008
        answer = await read_to_the_end(talk)
        assert b"four" in answer
        assert answer.endswith(b"data: [DONE]\n\n")
        line = b""
        while b"acme/new" not in line:
            line = await kept.content.readline()
        await other.send_json({"type": "session.update", "session": {"type": "realtime"}})
        await until(other, "session.updated")


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next event of that type."""
    while True:
        event: dict[str, Any] = await socket.receive_json(timeout=20)
        if event["type"] == kind:
            return event


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int:
    """The code that the server closes a socket with."""
    async with asyncio.timeout(20):
        while (message := await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            assert message.type is aiohttp.WSMsgType.TEXT
    return int(message.data)


async def test_less_of_a_role_ends_what_was_open(town: Stack) -> None:
    """An admin who becomes a viewer keeps the token, and nothing that an admin was shown."""
    async with listening(town, ADMIN) as line:
        demoted = ADMIN.entry.replace("role: admin", "role: viewer")
        town.write("_user.yaml", f"tokens:\n{demoted}")
        await town.sync()
        await read_to_the_end(line)
    _, page = await town.get("/api/agents", headers=ADMIN.headers)
    assert {item["user"] for item in page["items"]} == {"default"}


@pytest.mark.parametrize("how", ["no file", "no tokens", "an empty list"])
async def test_every_way_of_revoking(town: Stack, how: str) -> None:
    """The file goes, its tokens go, or they become an empty list; the owner keeps its agents."""
    file = town.root / "acme/_user.yaml"
    if how == "no file":
        file.unlink()
    else:
        file.write_text("email: ops@acme.example\n" + ("tokens: []\n" if how == "an empty list" else ""))
    await town.sync()
    assert await status(town, ALICE) == await status(town, ANN) == 401
    assert await status(town, GUS) == 200
    assert await status(town, ADMIN, "/api/agents/acme~sales") == 200


async def test_a_broken_user_file_opens_nothing(town: Stack) -> None:
    """It is set aside: the tokens of its last good version stay, and no other is let in."""
    from agentsd.control.sync.reconciler import SyncOptions
    from agentsd.files.tree import read_tree

    thief = User("acme", "admin")
    town.write("acme/_user.yaml", f"tokens:\n{thief.entry}")
    outcome = await town.reconciler.sync(read_tree(town.root), SyncOptions(strict=False))
    assert [quarantined.path for quarantined in outcome.plan.quarantined] == ["acme/_user.yaml"]
    town.write("acme/late.yaml", echo("Late"))
    with town.registry.subscribe() as changes:
        await town.reconciler.sync(read_tree(town.root), SyncOptions(strict=False))
        while (await anext(changes)).slugs != ("acme/late",):
            pass
    assert await status(town, thief) == 401
    assert await status(town, ALICE) == 200


async def test_nobody_ends_a_token_by_listing_its_hash(town: Stack, database: Database) -> None:
    """Neither by a file, nor by a row that was written by hand; and nobody gets it when it is revoked."""
    from agentsd.control.sync.reconciler import SyncOptions
    from agentsd.files.tree import read_tree

    async def settled() -> list[str]:
        outcome = await town.reconciler.sync(read_tree(town.root), SyncOptions(strict=False))
        while outcome.head and town.registry.snapshot.version < outcome.head.version:
            await asyncio.sleep(0.002)
        return [violation.code for one in outcome.plan.quarantined for violation in one.violations]

    theft = ALICE.entry.replace("name: editor", "name: theft")
    town.write("globex/_user.yaml", f"tokens:\n{GUS.entry}{theft}")
    town.write("globex/fresh.yaml", echo("Fresh"))
    assert await settled() == ["token-reused"]
    assert [await status(town, user) for user in (ALICE, GUS)] == [200, 200]
    async with database.transaction() as connection:
        await connection.execute(
            """UPDATE users SET tokens = tokens || (SELECT tokens FROM users WHERE username = 'acme')
               WHERE username = 'globex'"""
        )
    town.write("globex/fresher.yaml", echo("Fresher"))
    assert await settled() == ["token-reused"]
    assert [await status(town, user) for user in (ALICE, GUS)] == [200, 200]
    write_users(town, "acme", [ANN])
    assert await settled() == ["token-reused"]
    assert [await status(town, user) for user in (ALICE, ANN, GUS)] == [401, 200, 200]


async def test_revoking_is_not_held_up_by_a_broken_file(town: Stack) -> None:
    """A user file that goes takes its tokens along, though nothing is pruned while another file is bad."""
    from agentsd.control.sync.reconciler import SyncOptions
    from agentsd.files.tree import read_tree

    for file in (town.root / "acme").iterdir():
        file.unlink()
    town.write("acme/sales.yaml", "name: [\n")
    town.write("globex/fresh.yaml", echo("Fresh"))
    outcome = await town.reconciler.sync(read_tree(town.root), SyncOptions(strict=False))
    assert outcome.head is not None
    while town.registry.snapshot.version < outcome.head.version:
        await asyncio.sleep(0.002)
    assert await status(town, ALICE) == 401
    assert await status(town, ADMIN, "/api/agents/acme~orders") == 200
    again = await town.reconciler.sync(read_tree(town.root), SyncOptions(strict=False))
    assert again.plan.empty


async def test_an_open_server_closes_and_opens(stack: Stack) -> None:
    """On loopback: open, until the first token is known, and again once the last is gone."""
    stack.write("support.yaml", echo("Support"))
    stack.write("acme/sales.yaml", echo("Sales"))
    await stack.sync()
    assert (await stack.get("/api/agents"))[1]["total"] == 2
    async with stack.client.get(f"{stack.url}/api/events") as line:
        await line.content.readline()
        write_users(stack, "acme", [ANN])
        await stack.sync()
        await read_to_the_end(line)
    assert (await stack.get("/api/agents"))[0] == 401
    evil = {"Host": "evil.example"}
    assert (await stack.get("/api/agents", headers=evil))[0] == 401
    assert (await stack.get("/api/agents", headers={**ANN.headers, **evil}))[0] == 200
    write_users(stack, "acme", [])
    await stack.sync()
    assert (await stack.get("/api/agents"))[0] == 200
    assert (await stack.get("/api/agents", headers=evil))[0] == 403


async def test_on_a_network_nobody_gets_in_without_a_token(make: Make) -> None:
    """None known, or all revoked: 401 for everything but probes, which may name the server as they like."""
    stack = await make(access=AccessPolicy(loopback=False))
    stack.write("support.yaml", echo("Support"))
    for users, expected in (([], 401), ([ANN], 200), ([], 401)):
        write_users(stack, "acme", users)
        await stack.sync()
        assert await status(stack, ANN) == expected
        assert (await stack.get("/api/agents"))[0] == 401
        assert (await stack.get("/healthz", headers={"Host": "10.0.0.7:8080"}))[0] == 200


async def test_only_an_expired_token_keeps_the_door_shut(stack: Stack) -> None:
    """A loopback server does not open again because its tokens ran out."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    write_users(stack, "acme", [User("acme", "viewer", expires=yesterday)])
    await stack.sync()
    assert (await stack.get("/api/agents"))[0] == 401
    assert await status(stack, User("acme", "viewer", expires=yesterday)) == 401


async def test_an_expiring_token_ends_its_streams(make: Make) -> None:
    """What is open ends by itself at that moment, without any change of a file."""
    user = User("acme", "viewer", expires="2027-01-31T12:00:00Z")
    now = [datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp() - 0.2]
    access = AccessPolicy()
    object.__setattr__(access, "book", TokenIndex(clock=lambda: now[0]))
    stack = await make(access=access)
    stack.write("acme/sales.yaml", echo("Sales"))
    write_users(stack, "acme", [user])
    await stack.sync()
    async with (
        listening(stack, user) as line,
        stack.client.ws_connect(stack.url + CALL, headers=user.headers) as call,
    ):
        now[0] += 0.2
        await read_to_the_end(line)
        assert await closed(call) == 1008
    assert await status(stack, user) == 401


@pytest.mark.parametrize("loopback", [True, False])
async def test_before_the_first_load(make: Make, loopback: bool) -> None:
    """Only the tokens of the file are known: whoever shows another is told to wait, not to go away."""
    stack = await make(access=AccessPolicy(OF_FILE, loopback=loopback), follow=False)
    assert (await stack.get("/api/sync", headers=BEARER))[0] == 200
    async with stack.client.get(f"{stack.url}/api/agents", headers=ANN.headers) as reply:
        assert (reply.status, (await reply.json(content_type=None))["code"]) == (503, "not_ready")
        assert "Retry-After" in reply.headers
    assert (await stack.get("/api/agents"))[0] == 401
    assert (await stack.get("/readyz"))[0] == 503


async def test_without_a_file_nothing_is_open_before_the_first_load(make: Make) -> None:
    """The users' tokens are not known, so whether the server is open is not either."""
    stack = await make(follow=False)
    for path in ("/api/sync", "/api/providers", "/v1/models", "/api/events"):
        assert (await stack.get(path))[0] == 503


async def test_the_operators_token_and_the_users(make: Make) -> None:
    """Both kinds at once; revoking users does not touch the file's."""
    stack = await make(access=AccessPolicy(OF_FILE))
    await settle(stack)
    async with stack.client.get(f"{stack.url}/api/events", headers=BEARER) as line:
        await line.content.readline()
        assert (await stack.get("/api/agents", headers=BEARER))[1]["total"] == 6
        assert await status(stack, ALICE) == 200
        for owner in ("default", "acme", "globex"):
            write_users(stack, owner, [])
        await stack.sync()
        assert await status(stack, ALICE) == 401
        assert (await stack.get("/api/agents", headers=BEARER))[0] == 200
        assert (await stack.get("/api/agents"))[0] == 401
        assert not line.content.at_eof()
        line.close()


async def test_a_viewer_is_told_why(make: Make) -> None:
    """403 with what is missing: for an own agent, and in the same words for any foreign owner."""
    stack = await make(write_back="files")
    await settle(stack)
    status_, body = await stack.ask("DELETE", "/api/agents/acme~sales", headers=ANN.headers)
    assert (status_, body["code"]) == (403, "forbidden")
    assert "viewer" in body["detail"]
    told = []
    for slug in ("globex/sales", "globex/nothing", "nowhere/nothing"):
        status_, body = await stack.ask("POST", "/api/agents", headers=ALICE.headers, json={"slug": slug})
        assert status_ == 403
        told.append(body)
    assert told[0] == told[1] == told[2]
    assert (stack.root / "acme/sales.yaml").exists()


async def test_tokens_are_in_no_reply_log_or_metric(town: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a token nor its hash, whatever is asked and however it fails."""
    caplog.set_level(logging.DEBUG)
    said = []
    for user in (ADMIN, ALICE, GUS, User("acme", "editor", "unknown")):
        for path in ("/api/agents", "/api/agents/globex~vault", "/api/sync", "/v1/models", "/nothing"):
            said.append(json.dumps((await town.get(path, headers=user.headers))[1]))
    async with town.client.get(f"{town.url}/metrics") as reply:
        said.append(await reply.text())
    everything = caplog.text + "".join(said)
    assert "agentsd_acme" not in everything
    for user in (ADMIN, ALICE, GUS):
        assert user.token not in everything
        assert sha256(user.token.encode()).hexdigest() not in everything


async def test_a_start_on_a_network_is_refused_without_a_token(make: Make, database: Database) -> None:
    """With what to do; not with a token in the file or the store, and not on loopback."""
    everywhere = ["0.0.0.0"]  # noqa: S104  (nothing is bound)
    with pytest.raises(ConfigError) as caught:
        await _refuse_lockout(AccessPolicy(loopback=False), everywhere, database)
    assert "agentsd token create" in caught.value.hint
    assert "AGENTSD_TOKEN_FILE" in caught.value.hint
    await _refuse_lockout(AccessPolicy(), ["127.0.0.1"], database)
    await _refuse_lockout(AccessPolicy(OF_FILE, loopback=False), everywhere, database)
    stack = await make()
    write_users(stack, "acme", [ANN])
    await stack.sync()
    await _refuse_lockout(AccessPolicy(loopback=False), everywhere, database)
    write_users(stack, "acme", [])
    await stack.sync()
    with pytest.raises(ConfigError):
        await _refuse_lockout(AccessPolicy(loopback=False), everywhere, database)


async def test_a_start_without_postgres_goes_on(tmp_path: Path) -> None:
    """Whether there is a token is not known then: the server starts, and lets nobody in."""
    away = Database(f"postgresql://nobody@/none?host={tmp_path}")
    await _refuse_lockout(AccessPolicy(loopback=False), ["0.0.0.0"], away)  # noqa: S104  (nothing is bound)
    await away.aclose()
