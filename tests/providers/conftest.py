"""Sessions and ready-made providers for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.transport.sessions import HttpSessions

QUICK = {"connect_timeout_seconds": 5, "timeout_seconds": 5, "idle_timeout_seconds": 5}
"""Limits that no test reaches unless it means to."""
HASTY = {"connect_timeout_seconds": 0.3, "timeout_seconds": 0.3, "idle_timeout_seconds": 0.2}
"""Limits for tests of a stall."""

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The built-in vendors."""
    return default_catalog()


@pytest.fixture
async def sessions() -> AsyncIterator[HttpSessions]:
    """Sessions that must all have been released when the test ends."""
    pool = HttpSessions()
    yield pool
    left = pool.holders()
    await pool.aclose()
    assert left == {}


@pytest.fixture
async def make(catalog: Catalog, sessions: HttpSessions) -> AsyncIterator[Make]:
    """``make("llm", provider="groq.com", …)``: a provider, closed when the test ends."""
    made: list[Any] = []

    def provider(kind: str, **section: Any) -> Any:
        limits = {} if section["provider"] == "echo.local" else QUICK
        built = catalog.build(kind, catalog.settings_of(kind, {**limits, **section}), sessions)
        made.append(built)
        return built

    yield provider
    for built in made:
        await built.aclose()
