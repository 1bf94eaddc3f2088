"""A tree of manifests and a store for each test; one age key for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentsd.control.sync.reconciler import Reconciler
from agentsd.store.database import Database
from tests.control.daemon import Daemon, daemon
from tests.control.place import Place, echo, make_checker
from tests.runtime.world import Keys, new_keys


@pytest.fixture(scope="session")
def keys() -> Keys:
    """The key at hand."""
    return new_keys()


@pytest.fixture(scope="session")
def strangers() -> Keys:
    """A key that is not at hand."""
    return new_keys()


@pytest.fixture
def place(tmp_path: Path, database: Database, keys: Keys) -> Place:
    """An empty folder, an empty store, and the key."""
    root = tmp_path / "agents.d"
    root.mkdir()
    return Place(root, database, Reconciler(make_checker(keys), database))


@pytest.fixture
async def running(place: Place) -> AsyncIterator[Daemon]:
    """Over ``a.yaml`` and ``acme/b.yaml``."""
    place.write({"a.yaml": echo(1), "acme/b.yaml": echo(2)})
    async with daemon(place) as one:
        assert await place.slugs() == {"a", "acme/b"}
        yield one
