"""Homes, clients and servers of the end-to-end tests; all of them are gone at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from agentsd.store.embedded.server import EmbeddedPostgres
from tests.databases import copy_data_folder
from tests.e2e.checkout import Checkout
from tests.e2e.client import Client
from tests.e2e.home import Home
from tests.e2e.parrot import Parrot
from tests.runtime.world import new_keys


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    """A home with a fresh age identity and no manifests."""
    made = Home(Path(mkdtemp(prefix="agentsd-e2e-")), new_keys())
    yield made
    await made.clear()


@pytest.fixture
def checkout(home: Home) -> Checkout:
    """A clone of the samples, with the demo key."""
    return Checkout(home)


@pytest.fixture
async def vendor(home: Home) -> AsyncIterator[Parrot]:
    """Says the name of the model that it is asked for; a trusted origin."""
    async with Parrot() as parrot:
        home.env["AGENTSD_TRUSTED_ORIGINS"] = parrot.url
        yield parrot


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Speaks HTTP."""
    async with Client() as made:
        yield made


@pytest.fixture
async def empty_postgres(home: Home) -> AsyncIterator[EmbeddedPostgres]:
    """A server of the test's own that was never migrated; not started yet."""
    server = EmbeddedPostgres(home.root / "own", settings={"fsync": "off"})
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture
async def postgres(home: Home) -> AsyncIterator[EmbeddedPostgres]:
    """A server of the test's own, to be killed; not started yet."""
    # What was committed outlives a kill of the server, if not one of the machine.
    await asyncio.to_thread(copy_data_folder, home.root / "own")
    server = EmbeddedPostgres(home.root / "own", settings={"fsync": "off"})
    yield server
    await asyncio.to_thread(server.stop)
