"""Rate limits: by token, by address, for wrong tokens, alone or with a Redis that replicas share."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from agentsd.cli.compose.policies import make_bounds, make_policies
from agentsd.core.errors import ConfigError
from agentsd.settings import Settings
from agentsd.telemetry import Metrics
from agentsd.web.middleware.auth import AccessPolicy, FileTokens
from agentsd.web.middleware.policies import Policies
from tests.web.conftest import Make, Stack
from tests.web.middleware.test_request import BEARER, TOKEN, TOKENS
from tests.web.people import ADMIN, ALICE, ANN, GUS, settle
from tests.web.redis_server import redis

OFF = {"rate_limit": "off", "rate_limit_address": "off", "rate_limit_failed": "off"}
WRONG = {"Authorization": "Bearer of-another-server-altogether"}


def guards(**settings: Any) -> tuple[Policies, Metrics]:
    """The guards of some settings, and where they count."""
    metrics = Metrics()
    return make_policies(Settings(**{**OFF, **settings}), metrics), metrics


async def limited(make: Make, access: AccessPolicy = TOKENS, **settings: Any) -> Stack:
    """A server with some limits and no others."""
    return await make(access=access, guards=guards(**settings)[0])


async def statuses(stack: Stack, times: int, path: str = "/api/agents", **options: Any) -> list[int]:
    """Of so many requests, one after the other."""
    return [(await stack.get(path, **options))[0] for _ in range(times)]


async def test_a_token_has_a_quota(make: Make) -> None:
    """Every reply tells what is left; beyond it, 429 says when to come back."""
    stack = await limited(make, rate_limit="3/day")
    for left in (2, 1, 0):
        async with stack.client.get(f"{stack.url}/api/agents", headers=BEARER) as reply:
            assert reply.status == 200
            assert reply.headers["RateLimit-Policy"] == '"token";q=3;w=86400'
            assert re.fullmatch(rf'"token";r={left};t=\d+', reply.headers["RateLimit"])
    async with stack.client.get(f"{stack.url}/api/agents", headers=BEARER) as reply:
        body = await reply.json(content_type=None)
        assert (reply.status, body["code"]) == (429, "rate_limited")
        assert reply.content_type == "application/problem+json"
        assert 0 < int(reply.headers["Retry-After"]) <= 86_401
        assert reply.headers["RateLimit"].startswith('"token";r=0;t=')


async def test_an_openai_client_understands_the_refusal(make: Make) -> None:
    """Its own shape under /v1, so that clients raise their own error."""
    stack = await limited(make, rate_limit="1/day")
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=TOKEN, max_retries=0) as client:
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            await client.models.list()
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "rate_limit_error"


async def test_probes_and_scrapers_are_not_counted(make: Make) -> None:
    """They come every second, and must not be refused."""
    stack = await limited(make, rate_limit="1/day", rate_limit_address="1/day", rate_limit_failed="1/day")
    for path in ("/healthz", "/readyz"):
        assert await statuses(stack, 4, path) == [200] * 4
    async with stack.client.get(f"{stack.url}/healthz") as reply:
        assert "RateLimit" not in reply.headers


async def test_nobody_spends_the_sign_in_of_others(make: Make) -> None:
    """Pages are open: whoever has no token is counted by address, not by a quota that all of them share."""
    stack = await limited(make, rate_limit="1/day")
    for _ in range(3):
        for headers in ({}, WRONG):
            async with stack.client.get(f"{stack.url}/ui/agents", headers=headers) as reply:
                assert (reply.status, reply.headers.get("RateLimit")) == (200, None)
    stack = await limited(make, rate_limit_address="1/day")
    async with stack.client.get(f"{stack.url}/ui/agents") as reply:
        assert reply.headers["RateLimit"].startswith('"address";r=0;')
    async with stack.client.get(f"{stack.url}/ui/agents") as reply:
        assert reply.status == 429


async def test_streams_and_sockets_count_and_tell(make: Make) -> None:
    """An event stream has the fields in its head; a WebSocket counts when it connects."""
    stack = await limited(make, rate_limit="2/day")
    async with stack.client.get(f"{stack.url}/api/events", headers=BEARER) as reply:
        assert reply.headers["RateLimit"].startswith('"token";r=1;')
    url = f"{stack.url}/v1/realtime?model=echo"
    async with stack.client.ws_connect(url, headers=BEARER) as socket:
        assert socket._response.headers["RateLimit"].startswith('"token";r=0;')
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await stack.client.ws_connect(url, headers=BEARER)
    assert caught.value.status == 429


async def test_addresses_count_apart_behind_a_trusted_proxy(make: Make) -> None:
    """By X-Forwarded-For of a listed proxy only; what a client made up before that does not help it."""

    def via(chain: str) -> dict[str, str]:
        return {**BEARER, "X-Forwarded-For": chain}

    rules = {"rate_limit_address": "1/day", "trusted_proxies": "127.0.0.1,10.0.0.0/8"}
    stack = await limited(make, **rules)
    for chain, status in (
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("192.0.2.3, 192.0.2.1", 429),
        ("192.0.2.2, 10.0.0.9", 429),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("rubbish", 200),
        ("more rubbish", 429),
    ):
        assert await statuses(stack, 1, headers=via(chain)) == [status], chain


async def test_nobody_else_says_where_a_request_comes_from(make: Make) -> None:
    """Without a listed proxy the peer's address counts."""
    stack = await limited(make, rate_limit_address="1/day")
    chains = [{**BEARER, "X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2)]
    assert [await statuses(stack, 1, headers=chain) for chain in chains] == [[200], [429]]


async def test_wrong_tokens_are_few_and_lock_nobody_out(make: Make) -> None:
    """401 and then 429 for an address; a valid token from there goes on."""
    stack = await limited(make, rate_limit_failed="3/day")
    assert await statuses(stack, 2, headers=WRONG) == [401, 401]
    assert await statuses(stack, 2) == [401, 429]
    assert await statuses(stack, 2, "/v1/models", headers=WRONG) == [429, 429]
    async with stack.client.get(f"{stack.url}/v1/models", headers=WRONG) as reply:
        assert "Retry-After" in reply.headers
        assert reply.headers["RateLimit-Policy"] == '"failed";q=3;w=86400'
    assert await statuses(stack, 3, headers=BEARER) == [200] * 3


async def test_by_default_only_a_server_with_tokens_limits(make: Make) -> None:
    """An open server on loopback has one user; a rate that is set counts there too."""
    defaults = make_policies(Settings(), Metrics())
    open_server = await make(guards=defaults)
    async with open_server.client.get(f"{open_server.url}/api/agents") as reply:
        assert "RateLimit" not in reply.headers
    guarded = await make(access=AccessPolicy(FileTokens(TOKENS.tokens.digests)), guards=defaults)
    async with guarded.client.get(f"{guarded.url}/api/agents", headers=BEARER) as reply:
        assert reply.headers["RateLimit-Policy"] == '"address";q=6000;w=60, "token";q=1200;w=60'
    asked_for = await limited(make, AccessPolicy(), rate_limit="1/day")
    assert await statuses(asked_for, 2) == [200, 429]


async def test_replicas_share_a_redis(make: Make, tmp_path: Path) -> None:
    """What one replica counts, the other one knows."""
    with redis(tmp_path) as url:
        one, two = [await limited(make, rate_limit="3/day", rate_limit_storage=url) for _ in range(2)]
        assert await statuses(one, 2, headers=BEARER) == [200, 200]
        assert await statuses(two, 2, headers=BEARER) == [200, 429]
        assert await statuses(one, 1, headers=BEARER) == [429]


async def test_without_its_redis_a_process_counts_by_itself(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither open nor shut: limits hold in each process; told once in the log, and in a metric."""
    with redis(tmp_path) as url:
        made, metrics = guards(rate_limit="2/day", rate_limit_storage=url)
        stack = await make(access=TOKENS, guards=made)
        assert await statuses(stack, 1, headers=BEARER) == [200]
        assert "agentsd_rate_limit_storage_up 1.0" in metrics.render().decode()
    assert await statuses(stack, 4, headers=BEARER) == [200, 200, 429, 429]
    assert "agentsd_rate_limit_storage_up 0.0" in metrics.render().decode()
    told = [record for record in caplog.records if "shared storage" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert str(tmp_path) not in caplog.text


async def test_a_redis_that_comes_back_is_used_again(make: Make, tmp_path: Path) -> None:
    """Also a new one, which has forgotten everything."""
    from agentsd.web.middleware.quota import Quota, QuotaMetrics, RedisCounters, open_redis_counters
    from agentsd.web.middleware.rate_limit import RateLimiter

    metrics = Metrics()
    counts = QuotaMetrics(metrics)
    with redis(tmp_path) as url:
        shared = RedisCounters(open_redis_counters(url, counts).storage, counts, away_seconds=0)
        quota = Quota("token", "2/day", shared)
        stack = await make(access=TOKENS, guards=Policies(RateLimiter(counts, token=quota)))
        assert await statuses(stack, 3, headers=BEARER) == [200, 200, 429]
    assert await statuses(stack, 1, headers=BEARER) == [200]
    with redis(tmp_path):
        assert await statuses(stack, 3, headers=BEARER) == [200, 200, 429]
    assert "agentsd_rate_limited_total" in metrics.render().decode()


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limit": "many"},
        {"rate_limit_address": "10"},
        {"rate_limit_failed": "-1/minute"},
        {"rate_limit_storage": "memcached://:hidden@host"},
        {"rate_limit_storage": "redis://:hidden@host:port"},
        {"trusted_proxies": "proxy.example"},
        {"cors_origins": "*"},
        {"cors_origins": "https://ui.example/path"},
        {"cors_origins": "null"},
    ],
)
async def test_a_wrong_setting_is_told_at_the_start(settings: dict[str, str]) -> None:
    """With what to write instead, and without the password of a URL."""
    with pytest.raises(ConfigError) as caught:
        guards(**settings)
    assert caught.value.hint
    assert "hidden" not in str(caught.value)


def test_connections_are_bounded_by_settings() -> None:
    """In all, and of an address."""
    bounds = make_bounds(Settings(max_connections=7, max_connections_per_address=3))
    assert (bounds.total, bounds.per_address) == (7, 3)


async def test_an_owner_has_a_budget_of_what_is_under_way(make: Make) -> None:
    """All tokens of one owner together; others and admins get in, and what ends makes room."""
    stack = await make(guards=guards(max_requests_per_owner=2)[0])
    await settle(stack)
    async with AsyncExitStack() as streams:
        for user in (ALICE, ANN):
            feed = stack.client.get(f"{stack.url}/api/events", headers=user.headers)
            assert (await streams.enter_async_context(feed)).status == 200
        async with stack.client.get(f"{stack.url}/api/agents", headers=ALICE.headers) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
            assert (await reply.json(content_type=None))["code"] == "owner_busy"
        async with stack.client.get(f"{stack.url}/v1/models", headers=ANN.headers) as reply:
            assert reply.status == 429
            assert (await reply.json())["error"]["code"] == "owner_busy"
        for user in (GUS, ADMIN):
            assert (await stack.get("/api/agents", headers=user.headers))[0] == 200
    async with asyncio.timeout(10):
        while (await stack.get("/api/agents", headers=ALICE.headers))[0] != 200:
            await asyncio.sleep(0.02)


async def test_an_owner_has_a_budget_of_costly_work(make: Make) -> None:
    """Writes and dry runs of one owner do not queue up before everybody else's; reads go on."""
    limits = guards(max_works_per_owner=1)[0]
    assert limits.budgets
    stack = await make(guards=limits)
    await settle(stack)
    over = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"text": '
        await over.wait()
        yield b'"x"}'

    async def write(user: Any) -> int:
        path = f"{stack.url}/api/agents/{user.owner}~sales?dry_run=true"
        async with stack.client.patch(path, json={"name": "X"}, headers=user.headers) as reply:
            return reply.status

    headers = {**ALICE.headers, "Content-Type": "application/json"}
    first = asyncio.create_task(stack.client.post(f"{stack.url}/api/markdown", data=slow(), headers=headers))
    async with asyncio.timeout(10):
        while not limits.budgets._works:
            await asyncio.sleep(0.01)
    assert await write(ALICE) == 429
    assert await write(GUS) != 429
    assert (await stack.get("/api/agents", headers=ALICE.headers))[0] == 200
    over.set()
    (await first).release()
    assert await write(ALICE) != 429
