"""Real keys and the real sops for every test here."""

from __future__ import annotations

from typing import Any

import pytest
from pyrage import x25519

from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.sops.real import Sops


@pytest.fixture(scope="session")
def keys() -> list[Any]:
    """Four age identities; the first two are at hand, the others belong to strangers."""
    return [x25519.Identity.generate() for _ in range(4)]


@pytest.fixture(scope="session")
def sops(tmp_path_factory: pytest.TempPathFactory, keys: list[Any]) -> Sops:
    folder = tmp_path_factory.mktemp("sops")
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "SOPS_AGE_KEY": f"{keys[0]}\n{keys[1]}"}
    return Sops(folder, environ, tuple(str(key.to_public()) for key in keys))


@pytest.fixture(scope="session")
def opener(sops: Sops, keys: list[Any]) -> Opener:
    return Opener(Identities((keys[0], keys[1])), SopsBinary(environ=sops.environ))
