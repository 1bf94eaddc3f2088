"""Vendors with voices, and a replica with a voice agent, for every test of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.web.conftest import Stack
from tests.web.voices import Vendors, vendors


@pytest.fixture
async def voices() -> AsyncIterator[Vendors]:
    """One vendor of each kind."""
    async with vendors() as made:
        yield made


@pytest.fixture
async def bot(stack: Stack, voices: Vendors) -> Stack:
    """A replica with a voice agent named ``bot``."""
    stack.write("bot.yaml", voices.manifest("alpha"))
    await stack.sync()
    return stack
