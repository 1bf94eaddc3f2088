"""A world per test, which must end without an open provider, session, lease or task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.client_guard import GuardedTTS
from agentsd.providers.resilience.builder import ResilientTTS
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor
from agentsd.store.database import Database
from agentsd.telemetry import Metrics
from tests.runtime.world import Keys, World, new_keys, new_registry, text_of
from tests.vendors.openai_server import OpenAIServer


class VoiceSettings(ProviderSettings):
    """A vendor of voices that needs no network; the voice ``broken`` cannot be built."""

    provider: Literal["voice.test"]
    voice: Annotated[str, Field(description="Its name.")]


class Voice:
    """Remembers whether it was closed."""

    def __init__(self, settings: VoiceSettings, sessions: HttpSessions) -> None:
        if settings.voice == "broken":
            raise RuntimeError("no such voice")
        self.name = settings.voice
        self.closed = 0

    async def aclose(self) -> None:
        """Counts."""
        self.closed += 1


def voice_in(tts: object) -> Voice:
    """The vendor's client behind an agent's voice."""
    assert isinstance(tts, ResilientTTS)
    assert isinstance(tts.chain.first, GuardedTTS)
    voice: object = tts.chain.first.client
    assert isinstance(voice, Voice)
    return voice


@pytest.fixture(scope="session")
def keys() -> Keys:
    """The world's age identity."""
    return new_keys()


@pytest.fixture(scope="session")
def strangers() -> Keys:
    """An identity that the registry does not have."""
    return new_keys()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The built-in vendors and ``voice.test``."""
    return replace(default_catalog(), tts={"voice.test": Vendor(VoiceSettings, Voice)})


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAIServer]:
    """A server of chat completions."""
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def world(
    database: Database, keys: Keys, catalog: Catalog, vendor: OpenAIServer
) -> AsyncIterator[World]:
    """Postgres, a registry that trusts the vendor's server, and nothing left over at the end."""
    before = {*asyncio.all_tasks()}
    sessions, metrics = HttpSessions(), Metrics()
    registry = new_registry(database, keys, sessions, metrics, catalog=catalog, trusted=[vendor.url])
    world = World(database, registry, sessions, metrics)
    yield world
    await registry.aclose(drain_s=0)
    assert sessions.holders() == {}
    assert not sessions.opened()
    await sessions.aclose()
    for kind in ("llm", "tts"):
        assert world.value("agentsd_providers_open", kind=kind) == 0
    assert world.value("agentsd_leases_in_use") == 0
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


Sealed = Callable[..., str]


@pytest.fixture
def sealed(keys: Keys, vendor: OpenAIServer) -> Sealed:
    """``sealed(model=…, …)``: a manifest for the vendor's server, sealed by the real sops."""

    def make(url: str | None = None, by: Keys = keys, **options: Any) -> str:
        return by.seal(text_of(url or vendor.url, **options))

    return make
