"""Users × roles × routes × owners: what is not granted is 401, 403 or 404, and tells nothing of what exists.

The routes are the router's own: a new one without a stated grant fails here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import aiohttp
import pytest

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.control.sync.run_log import record_result
from agentsd.files.tree import read_tree
from agentsd.web.middleware.webhook_signature import GitWebhook
from tests.web.conftest import Make, Stack, echo
from tests.web.people import ADMIN, AGENTS, ALICE, DAN, GLEN, GUS, OUTSIDERS, USERS, User, settle

Grant = Literal["open", "signed", "anyone", "reader", "writer", "creator", "admin"]
"""open: without a token. signed: by a forge's signature, and by no token. anyone: with one; tells of own
agents only. reader: who sees the agent.
writer: who may write the agent.
creator: who may write agents of the owner, be there one or not.
admin: no other role, whatever the owner."""

GRANTS: dict[tuple[str, str], Grant] = {
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/metrics"): "open",
    ("GET", "/openapi.json"): "open",
    ("GET", "/docs"): "open",
    ("POST", "/hooks/git"): "signed",
    ("GET", "/api/agents"): "anyone",
    ("GET", "/api/providers"): "anyone",
    ("GET", "/api/schema"): "anyone",
    ("GET", "/api/session"): "anyone",
    ("POST", "/api/session"): "anyone",
    ("DELETE", "/api/session"): "anyone",
    ("POST", "/api/markdown"): "anyone",
    ("GET", "/api/sync"): "anyone",
    ("GET", "/api/sync/plan"): "admin",
    ("GET", "/api/audit"): "anyone",
    ("GET", "/api/usage"): "anyone",
    ("GET", "/api/users"): "anyone",
    ("GET", "/api/events"): "anyone",
    ("GET", "/v1/models"): "anyone",
    ("POST", "/mcp"): "anyone",  # what each of its tools needs: tests.web.mcp.test_tools
    ("GET", "/api/agents/{agent}"): "reader",
    ("GET", "/api/agents/{agent}/revisions"): "reader",
    ("GET", "/api/agents/{agent}/activity"): "reader",
    ("GET", "/api/agents/{agent}/values"): "reader",
    ("GET", "/api/agents/{agent}/files"): "reader",
    ("GET", "/api/agents/{agent}/files/{path}"): "holder",
    ("POST", "/api/agents/{agent}/select"): "reader",
    ("POST", "/api/agents/{agent}/test"): "reader",
    ("GET", "/v1/models/{model}"): "reader",
    ("POST", "/v1/chat/completions"): "reader",
    ("POST", "/v1/completions"): "reader",
    ("POST", "/v1/responses"): "reader",
    ("GET", "/v1/responses/{response}"): "holder",
    ("DELETE", "/v1/responses/{response}"): "holder",
    ("GET", "/v1/responses/{response}/input_items"): "holder",
    ("POST", "/v1/audio/speech"): "reader",
    ("POST", "/v1/audio/transcriptions"): "reader",
    ("POST", "/v1/audio/translations"): "reader",
    ("POST", "/v1/embeddings"): "reader",
    ("GET", "/v1/realtime"): "reader",
    ("PUT", "/api/agents/{agent}"): "writer",
    ("PATCH", "/api/agents/{agent}"): "writer",
    ("DELETE", "/api/agents/{agent}"): "writer",
    ("POST", "/api/agents/{agent}/set-default"): "writer",
    ("POST", "/api/agents/{agent}/rollback"): "writer",
    ("POST", "/api/agents/{agent}/tools/{tool}"): "writer",
    ("PUT", "/api/agents/{agent}/files/{path}"): "writer",
    ("POST", "/api/agents"): "creator",
    ("POST", "/api/users/{user}/tokens"): "admin",
    ("DELETE", "/api/users/{user}/tokens/{name}"): "admin",
}

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
STALE = {"If-Match": '"0000"'}
"""With it a write that is granted goes as far as the file, and then is a 412."""

MOVER = "3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11"
LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MESSAGES = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True)
class Answer:
    """A reply, with the name that was asked for taken out."""

    status: int
    body: bytes
    headers: dict[str, str]


def routes_of(stack: Stack) -> Iterator[tuple[str, str]]:
    """Method and path of every route, as the app has them; HEAD goes with GET, and pages hold nothing."""
    app = stack.running._runner.app
    for route in app.router.routes():
        assert route.resource is not None
        page = route.resource.canonical == "/" or route.resource.canonical.startswith("/ui")
        if route.method != "HEAD" and not page:
            yield route.method, route.resource.canonical


def request_of(method: str, path: str, ref: str) -> dict[str, Any]:
    """Arguments of the request for the agent ``ref``, in which nothing else is wrong."""
    target = {"path": path.replace("{agent}", ref.replace("/", "~")).replace("{model}", ref)}
    target["path"] = (
        target["path"].replace("{user}", ref.partition("/")[0]).replace("{name}", "no-such-token")
    )
    target["path"] = target["path"].replace("{tool}", "no-such-tool")
    changed = {"json": {"description": "Changed."}, "headers": STALE}
    sound = {"data": b"\0" * 3200, "headers": {"Content-Type": "audio/pcm;rate=16000;channels=1"}}
    special: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/v1/chat/completions"): {"json": {"model": ref, "messages": MESSAGES}},
        ("POST", "/v1/completions"): {"json": {"model": ref, "prompt": "hello"}},
        ("POST", "/v1/responses"): {"json": {"model": ref, "input": "hello"}},
        ("POST", "/api/markdown"): {"json": {"text": "*hello*"}},
        ("POST", "/mcp"): {"json": LISTING, "headers": {"Accept": "application/json, text/event-stream"}},
        ("POST", "/v1/audio/speech"): {"json": {"model": ref, "input": "hello"}},
        ("POST", "/v1/embeddings"): {"json": {"model": ref, "input": "hello"}},
        ("POST", "/v1/audio/transcriptions"): {**sound, "path": f"{path}?model={ref}"},
        ("POST", "/v1/audio/translations"): {**sound, "path": f"{path}?model={ref}"},
        ("GET", "/v1/realtime"): {"path": f"{path}?model={ref}", "headers": UPGRADE},
        ("POST", "/api/agents/{agent}/tools/{tool}"): {"json": {"no_such_field": 1}},
        ("POST", "/api/agents"): {"json": {"slug": ref, "no_such_field": 1}},
        ("POST", "/api/users/{user}/tokens"): {"json": {"no_such_field": 1}},
        ("PUT", "/api/agents/{agent}"): changed,
        ("PATCH", "/api/agents/{agent}"): changed,
        ("DELETE", "/api/agents/{agent}"): changed,
        ("POST", "/api/agents/{agent}/set-default"): {"headers": STALE},
        ("PUT", "/api/agents/{agent}/files/{path}"): {"json": {"text": "Changed."}, "headers": STALE},
        ("POST", "/api/agents/{agent}/rollback"): {"json": {"version": 1}, "headers": STALE},
    }
    return target | special.get((method, path), {})


async def ask(stack: Stack, method: str, path: str, ref: str, credentials: dict[str, str]) -> Answer:
    """One request; of an endless reply only its head is read."""
    options = request_of(method, path, ref)
    url = stack.url + options.pop("path")
    headers = {**options.pop("headers", {}), **credentials}
    async with stack.client.request(method, url, headers=headers, **options) as reply:
        endless = reply.status == 101 or reply.content_type == "text/event-stream"
        body = b"" if endless else await reply.read()
        if endless:
            reply.close()
        told = {
            name: value
            for name, value in reply.headers.items()
            if name not in ("Date", "Content-Length", "X-Request-ID")  # drawn for each request
        }
    for written in {ref, ref.replace("/", "~")}:
        body = body.replace(written.encode(), b"REF")
    return Answer(reply.status, body, told)


@pytest.fixture
async def town(make: Make) -> Stack:
    """A replica that writes files, with every owner and every user."""
    stack = await make(write_back="files", hook=GitWebhook((b"0123456789abcdef",), nobody_pulls))
    await settle(stack)
    return stack


async def nobody_pulls() -> None:
    """What a hook sets off that no test here may set off."""
    raise AssertionError("an unsigned call was taken")


async def test_every_route_has_a_grant(town: Stack) -> None:
    """Neither a route without a grant, nor a grant without a route."""
    assert sorted(routes_of(town)) == sorted(GRANTS)


async def test_outsiders_get_nowhere(town: Stack) -> None:
    """401 in the same words for an agent that exists and for one that does not; and only probes are open."""
    for (method, path), grant in GRANTS.items():
        for credentials in OUTSIDERS.values():
            answers = [
                await ask(town, method, path, ref, credentials) for ref in ("acme/sales", "acme/nobody")
            ]
            if grant == "open":
                assert {answer.status for answer in answers} == {200}, (method, path)
                assert b"globex" not in answers[0].body, (method, path)
            else:
                assert {answer.status for answer in answers} == {401}, (method, path)
                assert answers[0] == answers[1]


def all_slugs() -> list[str]:
    """Of every owner."""
    return [slug for slugs in AGENTS.values() for slug in slugs]


async def check_admins(town: Stack, method: str, path: str, user: User) -> None:
    """403 for who is none, in the same words for every owner and for none."""
    answers = [await ask(town, method, path, owner, user.headers) for owner in (*AGENTS, "nobody")]
    assert {answer.status for answer in answers} <= ({200, 404, 422} if user.role == "admin" else {403}), (
        answers
    )
    assert user.role == "admin" or answers == answers[:1] * len(answers)


@pytest.mark.parametrize("user", USERS, ids=lambda user: f"{user.owner}-{user.role}")
async def test_the_matrix(town: Stack, user: User) -> None:
    """Every route, for agents of every owner, by slug and by id, beside one that is not there."""
    ids = {row.row.slug: str(row.row.id) for row in town.registry.snapshot.ids.values()}
    for (method, path), grant in GRANTS.items():
        if grant in ("signed", "open", "anyone", "holder"):
            expected = {"signed": 401, "holder": 404}.get(grant, 200)  # nobody else's response exists
            assert (await ask(town, method, path, "-", user.headers)).status == expected, (method, path)
            continue
        if grant == "admin":
            await check_admins(town, method, path, user)
            continue
        for owner, (_, slug) in AGENTS.items():
            granted = user.sees(owner) if grant == "reader" else user.writes(owner)
            refs = [(slug, f"{slug[:-4]}zzzz")]
            if grant != "creator":
                refs.append((ids[slug], str(uuid4())))
            for there, missing in refs:
                found = await ask(town, method, path, there, user.headers)
                absent = await ask(town, method, path, missing, user.headers)
                what = (method, path, owner, there, found)
                if granted:
                    assert found.status not in (401, 403, 404), what
                elif grant == "creator":
                    assert (found.status, found) == (403, absent), what
                elif not user.sees(owner):
                    assert (found.status, found) == (404, absent), what
                else:
                    assert found.status == 403, what
    assert set(town.registry.snapshot.slugs()) == set(all_slugs())


@pytest.mark.parametrize("user", USERS, ids=lambda user: f"{user.owner}-{user.role}")
async def test_lists_and_totals_are_ones_own(town: Stack, user: User) -> None:
    """Whatever is listed, counted, filtered or chosen by itself is of owners that the user sees."""
    own = sorted(slug for owner, slugs in AGENTS.items() if user.sees(owner) for slug in slugs)
    foreign = sorted(set(all_slugs()) - set(own))
    _, page = await town.get("/api/agents", headers=user.headers)
    assert ([one["slug"] for one in page["items"]], page["total"]) == (own, len(own))
    for query in ("sort=-name", "sort=condition&view=summary", "sort=version&q=s", "condition=Ready"):
        _, page = await town.get(f"/api/agents?{query}", headers=user.headers)
        expected = [slug for slug in own if "s" in slug or "q=" not in query]
        assert sorted(one["slug"] for one in page["items"]) == expected, query
        assert page["total"] == len(expected), query
    for owner, slugs in AGENTS.items():
        _, page = await town.get(f"/api/agents?owner={owner}", headers=user.headers)
        assert page["total"] == (len(slugs) if user.sees(owner) else 0)
    _, models = await town.get("/v1/models", headers=user.headers)
    assert [one["id"] for one in models["data"]] == own
    _, current = await town.get("/api/agents/current", headers=user.headers)
    assert current["slug"] == AGENTS[user.owner][0]
    _, ready = await town.get("/readyz", headers=user.headers)
    assert ready["agents"] == len(own)
    for path in ("/api/agents", "/v1/models", "/api/agents/current", "/api/sync", "/api/audit", "/readyz"):
        _, body = await town.get(path, headers=user.headers)
        text = json.dumps(body)
        assert not [slug for slug in foreign if f'"{slug}"' in text or f"{slug}.yaml" in text], path


async def test_etags_and_caches_are_per_user(town: Stack) -> None:
    """One user's list does not revalidate another's, and shared caches are told what it depends on."""
    tags = {}
    for path in ("/api/agents", "/v1/models"):
        for user in (ADMIN, ALICE, GUS):
            async with town.client.get(town.url + path, headers=user.headers) as reply:
                assert "Authorization" in reply.headers["Vary"]
                assert "private" in reply.headers["Cache-Control"]
                tags[path, user.owner] = reply.headers["ETag"]
        assert len({tag for (of, _), tag in tags.items() if of == path}) == 3
        headers = {**GUS.headers, "If-None-Match": tags[path, "acme"]}
        async with town.client.get(town.url + path, headers=headers) as reply:
            assert reply.status == 200
    agent = f"{town.url}/api/agents/acme~sales"
    async with town.client.get(agent, headers=ALICE.headers) as reply:
        tag = reply.headers["ETag"]
    async with town.client.get(agent, headers={**GUS.headers, "If-None-Match": tag}) as reply:
        assert reply.status == 404


async def test_a_cookie_selects_nothing_foreign(town: Stack) -> None:
    """The id of another owner's agent in the cookie is passed over, as any unknown one is."""
    vault = next(e.row.id for e in town.registry.snapshot.ids.values() if e.row.slug == "globex/vault")
    for user, expected in ((ALICE, "acme/sales"), (GLEN, "globex/vault"), (ADMIN, "globex/vault")):
        headers = {**user.headers, "Cookie": f"agentsd_agent={vault}"}
        assert (await town.get("/api/agents/current", headers=headers))[1]["slug"] == expected
        chat = {"messages": MESSAGES}
        async with town.client.post(f"{town.url}/v1/chat/completions", json=chat, headers=headers) as reply:
            assert reply.headers["X-Agent"] == expected


async def test_no_hint_names_what_is_foreign(town: Stack) -> None:
    """ "Did you mean" proposes own agents only, whoever's folder is asked for."""
    for path in ("/api/agents/globex~vaul", "/v1/models/globex/vaul"):
        for user, told in ((GLEN, True), (ADMIN, True), (ALICE, False), (DAN, False)):
            assert ("vault" in json.dumps((await town.get(path, headers=user.headers))[1])) is told


async def test_a_call_switches_to_nothing_foreign(town: Stack) -> None:
    """``session.update`` with another owner's agent: the error of an unknown one, and the call goes on."""
    url = f"{town.url}/v1/realtime?model=acme/sales"
    async with town.client.ws_connect(url, headers=ALICE.headers) as socket:
        told = []
        for model in ("globex/vault", "globex/nowhe", "acme/orders"):
            await socket.send_json(
                {"type": "session.update", "session": {"type": "realtime", "model": model}}
            )
            while (event := await socket.receive_json(timeout=10))["type"] not in (
                "error",
                "session.updated",
            ):
                pass
            told.append(event)
        errors = [{**event["error"], "event_id": None} for event in told[:2]]
        assert [error["code"] for error in errors] == ["model_not_found"] * 2
        assert errors[0]["message"].replace("globex/vault", "globex/nowhe") == errors[1]["message"]
        assert told[2]["session"]["agent"] == "acme/orders"


async def test_the_built_in_agent_is_not_someone_elses(town: Stack) -> None:
    """An agent called ``echo`` is its owner's; to others ``echo`` stays the built-in one, also in a lease."""
    town.write("echo.yaml", "name: Mine\nsystem_prompt: x\ngreeting: hi\nllm: {provider: echo.local}\n")
    await town.sync()
    for user, own in ((DAN, True), (ADMIN, True), (ALICE, False)):
        _, agent = await town.get("/api/agents/echo", headers=user.headers)
        assert agent["source"] == ("main" if own else "built-in")
        chat = {"model": "echo", "messages": MESSAGES}
        async with town.client.post(
            f"{town.url}/v1/chat/completions", json=chat, headers=user.headers
        ) as reply:
            assert (reply.headers["X-Agent-Version"] != "0") is own


async def test_metrics_name_neither_agents_nor_owners(town: Stack) -> None:
    """Scrapers need no token, so no label tells of an owner, an agent or a token, whatever was asked for."""
    for user in USERS:
        for slug in all_slugs():
            await ask(town, "POST", "/v1/chat/completions", slug, user.headers)
            await ask(town, "GET", "/api/agents/{agent}", slug, user.headers)
    text = (await (await town.client.get(f"{town.url}/metrics")).read()).decode()
    for word in ("acme", "globex", "vault", "sales", "agentsd_acme-", ALICE.token):
        assert word not in text


async def test_readiness_tells_probes_no_numbers(town: Stack) -> None:
    """Without a token: whether it is ready, and nothing of how much there is."""
    _, body = await town.get("/readyz")
    assert body["status"] == "ready"
    assert not {"agents", "degraded"} & body.keys()


async def test_an_agent_that_moves_away_takes_its_past_along(town: Stack) -> None:
    """Under one id, each owner sees what was its own, and a call does not follow the agent."""
    manifest = f"id: {MOVER}\nname: N\nsystem_prompt: {{}}\nllm: {{{{provider: echo.local}}}}\n"
    town.write("acme/mover.yaml", manifest.format("ours"))
    await town.sync()
    url = f"{town.url}/v1/realtime?model=acme/mover"
    async with town.client.ws_connect(url, headers=ALICE.headers) as socket:
        (town.root / "acme/mover.yaml").unlink()
        town.write("globex/mover.yaml", manifest.format("theirs"))
        await town.sync()
        await socket.send_json({"type": "response.create"})
        while (event := await socket.receive_json(timeout=10))["type"] != "error":
            assert not event["type"].startswith("response")
        assert "theirs" not in json.dumps(event)
    one = f"/api/agents/{MOVER}"
    for user, prompts in ((ALICE, ["ours"]), (GUS, ["theirs"]), (ADMIN, ["theirs", "ours"]), (DAN, None)):
        status, body = await town.get(f"{one}/revisions", headers=user.headers)
        assert [item["system_prompt"] for item in body.get("items", ())] == (prompts or []), (user, status)
        assert (status == 404) is (prompts is None)
        assert (await town.get(one, headers=user.headers))[0] == (200 if user in (GUS, ADMIN) else 404)


async def test_faults_of_others_are_not_told(town: Stack) -> None:
    """/api/sync: conditions, runs and problems of own files, and no text that names a foreign one."""
    pinned = (
        "id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b22\nname: N\nsystem_prompt: x\nllm: {provider: echo.local}\n"
    )
    town.write("globex/secretplan.yaml", pinned)
    await town.sync()
    town.write("acme/copy.yaml", pinned)
    town.write("globex/broken.yaml", "name: [\n")
    report = await sync_loosely(town)
    assert report == {"acme/copy.yaml", "globex/broken.yaml"}
    _, told = await town.get("/api/sync", headers=ALICE.headers)
    assert [one["path"] for one in told["conditions"]] == ["acme/copy.yaml"]
    assert [error["path"] for run in told["runs"] for error in run["errors"]] == ["acme/copy.yaml"]
    assert all(run["counts"] == {} for run in told["runs"])
    assert all(replica["host"] is None for replica in told["replicas"])
    assert told["leaders"] == []
    assert told["condition_counts"] == {"Invalid": 1}
    text = json.dumps(told)
    assert "globex" not in text
    assert "secretplan" not in text
    _, all_of_it = await town.get("/api/sync", headers=ADMIN.headers)
    assert {one["path"] for one in all_of_it["conditions"]} == report
    assert "secretplan" in json.dumps(all_of_it)


async def sync_loosely(stack: Stack) -> set[str]:
    """A sync as the daemon does it: bad files are set aside, and on record. Their paths."""
    options = SyncOptions(strict=False)
    outcome = await stack.reconciler.sync(read_tree(stack.root), options)
    now = datetime.now(UTC)
    await record_result(stack.database, outcome, options, trigger="test", started_at=now)
    return {quarantined.path for quarantined in outcome.plan.quarantined}


async def test_events_tell_of_own_agents_only(town: Stack) -> None:
    """Another owner's change is no event at all, not even an empty one; an admin is told."""
    async with AsyncExitStack() as stack:
        lines = {}
        for user in (ALICE, GUS, ADMIN):
            opened = town.client.get(f"{town.url}/api/events", headers=user.headers)
            lines[user] = await stack.enter_async_context(opened)
            assert await next_event(lines[user]) == ("hello", [])
        town.write("globex/new.yaml", echo("New"))
        await town.sync()
        town.write("acme/new.yaml", echo("New"))
        await town.sync()
        assert await next_event(lines[ALICE]) == ("changed", ["acme/new"])
        assert await next_event(lines[GUS]) == ("changed", ["globex/new"])
        assert await next_event(lines[ADMIN]) == ("changed", ["globex/new"])
        assert await next_event(lines[ADMIN]) == ("changed", ["acme/new"])
        for line in lines.values():
            line.close()


async def next_event(reply: aiohttp.ClientResponse) -> tuple[str, list[str]]:
    """Name and slugs of the next event that is not of a condition: the verifier comes when it comes."""
    name = ""
    async for line in reply.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data" and name != "condition":
            return name, json.loads(value)["slugs"]
    return "", []
