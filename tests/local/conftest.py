"""Providers that run on this machine. A test is skipped where what its provider needs is not installed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.local.engines import Engines
from agentsd.providers.transport.sessions import HttpSessions

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The built-in vendors."""
    return default_catalog()


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[HttpSessions]:
    """Sessions and models that must all have been released in the end; models may be in ``tmp_path``."""
    pool = HttpSessions(engines=Engines(EngineLimits(folders=(os.path.realpath(tmp_path),))))
    yield pool
    left = pool.engines.holders()
    await pool.aclose()
    assert left == {}


@pytest.fixture
async def make(catalog: Catalog, sessions: HttpSessions) -> AsyncIterator[Make]:
    """``make("tts", "piper.local", speed=1.2)``: a provider, closed when the test ends."""
    made: list[Any] = []

    def provider(kind: str, name: str, **section: Any) -> Any:
        needs = catalog.vendor(kind, name).needs
        if needs and needs.missing():
            pytest.skip(f"{name} is not installed: {needs.advice()}")
        built = catalog.build(kind, catalog.settings_of(kind, {"provider": name, **section}), sessions)
        made.append(built)
        return built

    yield provider
    for built in made:
        await built.aclose()
