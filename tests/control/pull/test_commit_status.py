"""Commit statuses: the forge is told, once, whatever it does; its token is told to nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agentsd.control.pull.commit_status import ATTEMPTS_MAX, DESCRIPTION_MAX, Forge, StatusSender
from agentsd.control.pull.puller import CommitStatus
from agentsd.core.errors import ConfigError
from agentsd.core.secret import Secret
from agentsd.core.trust.remotes import parse_remote
from tests.vendors.base import Fault
from tests.vendors.forge_server import TOKEN, ForgeServer

SHA = "0123456789abcdef" * 2 + "01234567"
REMOTE = parse_remote("https://git.example.org/group/sub/agents.git")


@pytest.fixture
async def server() -> AsyncIterator[ForgeServer]:
    """Both forges."""
    async with ForgeServer() as running:
        yield running


def forge(server: ForgeServer, kind: str = "github", token: str = TOKEN) -> Forge:
    """At the test server."""
    api = server.url if kind == "github" else f"{server.url}/api/v4/"
    return Forge.of(REMOTE, Secret(token), kind=kind, api=api, source="main")  # type: ignore[arg-type]


@asynccontextmanager
async def telling(one: Forge) -> AsyncIterator[StatusSender]:
    """In the background."""
    statuses = StatusSender(one, delay=0.001)
    task = asyncio.create_task(statuses.run())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def reached(done: Callable[[], object]) -> None:
    """Wait for it."""
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "project"),
    [
        ("github", "success", "failure", "group/sub/agents"),
        ("gitlab", "success", "failed", "group/sub/agents"),
    ],
)
async def test_both_forges(server: ForgeServer, kind: str, good: str, bad: str, project: str) -> None:
    """The state, the name and the text, in each one's words; a long text is cut."""
    async with telling(forge(server, kind)) as statuses:
        statuses.tell(CommitStatus(SHA, True, "1 to create"))
        statuses.tell(CommitStatus(SHA, False, "x" * 1000))
        await reached(lambda: len(server.statuses) == 2)
    (where, sha, first), (_, _, second) = server.statuses
    assert (where, sha) == (project, SHA)
    assert (first["state"], second["state"]) == (good, bad)
    assert first["context" if kind == "github" else "name"] == "agentsd/main"
    assert first["description"] == "1 to create"
    assert len(second["description"]) == DESCRIPTION_MAX


async def test_a_forge_that_is_away_is_asked_again(server: ForgeServer) -> None:
    """Some times; then the newer status is told all the same."""
    server.fault, server.times = Fault.OVERLOADED, 2
    async with telling(forge(server)) as statuses:
        statuses.tell(CommitStatus(SHA, True, "one"))
        await reached(lambda: server.statuses)
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", [Fault.REDIRECT, Fault.OVERLOADED, Fault.NOT_FOUND, None])
async def test_failures_are_logged_without_the_token(
    server: ForgeServer, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal is not repeated, a redirect not followed; neither token nor reply is in the log."""
    server.fault = fault
    token = TOKEN if fault else "another-token-canary"
    with caplog.at_level(logging.DEBUG):
        async with telling(forge(server, token=token)) as statuses:
            statuses.tell(CommitStatus(SHA, True, "one"))
            await reached(lambda: "did not accept" in caplog.text)
    assert len(server.requests) == (ATTEMPTS_MAX if fault is Fault.OVERLOADED else 1)
    assert "canary" not in caplog.text
    assert server.statuses == []


def test_which_forge() -> None:
    """The large ones are known; of others kind and address must be told."""
    token = Secret(TOKEN)
    known = Forge.of(parse_remote("git@github.com:org/repo.git"), token, kind=None, api="", source="main")
    assert known.url(SHA) == f"https://api.github.com/repos/org/repo/statuses/{SHA}"
    known = Forge.of(parse_remote("https://gitlab.com/a/b/c"), token, kind=None, api="", source="main")
    assert known.url(SHA) == f"https://gitlab.com/api/v4/projects/a%2Fb%2Fc/statuses/{SHA}"
    assert TOKEN not in repr(known)
    for kind, api in ((None, ""), ("github", ""), (None, "https://git.example.org/api/v1")):
        with pytest.raises(ConfigError, match="not a known forge"):
            Forge.of(REMOTE, token, kind=kind, api=api, source="main")  # type: ignore[arg-type]
    for api in ("https://[::1", "https://a.example:x", "ftp://x", "https://user:canary@x/api", "x"):
        with pytest.raises(ConfigError) as refused:
            Forge.of(REMOTE, token, kind="github", api=api, source="main")
        assert "canary" not in str(refused.value)
