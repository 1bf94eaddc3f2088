"""Probing for real: every provider of an agent against its vendor's server, well and ill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest

from agentsd.core.manifest.agent import AgentHead
from agentsd.providers.base import LiveAgent
from agentsd.providers.catalog import Catalog
from agentsd.providers.resilience import builder as resilient
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.services.probe import probe_agent
from agentsd.telemetry import Metrics
from tests.providers.conftest import HASTY, QUICK
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.whisper_server import WhisperServer

KEY = "sk-canary-42d0"
Agent = Callable[..., LiveAgent]


@pytest.fixture
async def agent(catalog: Catalog, sessions: HttpSessions) -> AsyncIterator[Agent]:
    """``agent(llm={...}, tts={...})``: a live agent of those sections."""
    made: list[Any] = []

    def make(**sections: dict[str, Any]) -> LiveAgent:
        providers: dict[str, Any] = {}
        for kind, section in sections.items():
            settings = catalog.settings_of(kind, section)
            providers[kind] = resilient.build_provider(catalog, kind, settings, sessions, Metrics())
            made.append(providers[kind])
        names = {kind: str(section["provider"]) for kind, section in sections.items()}
        return LiveAgent(uuid4(), "a", "default", 1, b"", AgentHead(), provider_names=names, **providers)

    yield make
    for provider in made:
        await provider.aclose()


def at(url: str, **more: Any) -> dict[str, Any]:
    """An OpenAI-compatible section."""
    limits = {name: value for name, value in QUICK.items() if name not in more}
    return {**limits, "provider": "openai-compatible", "model": "m", "api_key": KEY, "api_url": url, **more}


async def test_every_provider_is_asked_once(agent: Agent) -> None:
    """One token, one word, one second, one vector: no retries, and in the order of the sections."""
    async with OpenAIServer() as server, WhisperServer() as whisper:
        found = await probe_agent(
            agent(
                llm=at(server.url),
                tts=at(server.url, voice="v"),
                stt={**QUICK, "provider": "whisper.local", "url": whisper.ws_url},
                embedding=at(server.url),
            )
        )
        assert [(one.at, one.ok, one.reason) for one in found] == [
            (kind, True, "") for kind in ("llm", "tts", "stt", "embedding")
        ]
        assert sum(len(frame) for frame in whisper.last.frames if isinstance(frame, bytes)) == 32_000
        assert {request.path.rsplit("/", 1)[1] for request in server.requests} == {
            "completions",
            "speech",
            "embeddings",
        }
        assert len(server.requests) == 3
        assert "8 dimensions" in found[3].message


REASONS = [
    (Fault.UNAUTHORIZED, "wrong-key", "api_key"),
    (Fault.FORBIDDEN, "wrong-key", "api_key"),
    (Fault.NOT_FOUND, "not-found", "model or voice"),
    (Fault.RATE_LIMITED, "rate-limited", "fallback"),
    (Fault.STALL, "timeout", "timeout_seconds"),
    (Fault.UNPROCESSABLE, "rejected", "fields"),
    (Fault.REDIRECT, "wrong-url", "URL"),
    (Fault.MALFORMED_FRAME, "wrong-url", "URL"),
    (Fault.BROKEN, "failed", "later"),
]


@pytest.mark.parametrize(("fault", "reason", "advice"), REASONS)
async def test_every_failure_has_its_class_and_its_fix(
    agent: Agent, fault: Fault, reason: str, advice: str
) -> None:
    """The fix names the place; the vendor's own text and the key are not quoted."""
    async with OpenAIServer(fault=fault) as server:
        found = await probe_agent(
            agent(tts=at(server.url, voice="v", **HASTY), embedding=at(server.url, **HASTY))
        )
        assert [one.reason for one in found] == [reason, reason]
        for one in found:
            assert advice in one.fix
            assert "secret words" not in repr(one)
            assert KEY not in repr(one)
        assert len(server.requests) == 2


async def test_nobody_there(agent: Agent) -> None:
    """A port without a server, and a name without a host."""
    async with OpenAIServer() as server:
        gone = server.url
    for url in (gone, "http://no-such-host.invalid"):
        (finding,) = await probe_agent(agent(llm=at(url)))
        assert (finding.ok, finding.reason) == (False, "unreachable")
        assert "URL of llm" in finding.fix


async def test_those_that_stand_in_are_probed_too(agent: Agent) -> None:
    """A broken fallback is found before it is needed."""
    async with OpenAIServer() as well, OpenAIServer(fault=Fault.UNAUTHORIZED) as ill:
        found = await probe_agent(agent(llm=at(well.url) | {"fallback": [at(ill.url), at(well.url)]}))
    assert [(one.at, one.reason) for one in found] == [
        ("llm", ""),
        ("llm.fallback[0]", "wrong-key"),
        ("llm.fallback[1]", ""),
    ]
    assert "llm.fallback[0].api_key" in found[1].fix


async def test_good_form_without_content_is_a_failure(agent: Agent) -> None:
    """No word, no sound."""
    async with OpenAIServer(words=[]) as server:
        (finding,) = await probe_agent(agent(llm=at(server.url)))
        assert (finding.ok, finding.reason) == (False, "silent")
