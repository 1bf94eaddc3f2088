"""The operator's bounds, from the environment to the engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.cli.compose.factories import load_settings, make_sessions
from agentsd.core.errors import ConfigError
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.local.engines import Engines
from agentsd.providers.local.memory import available_memory


def test_bounds_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes with their unit, folders with their links resolved."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("AGENTSD_MODEL_DIRS", f"{tmp_path}/link, /srv/models")
    monkeypatch.setenv("AGENTSD_ENGINE_MEMORY", "512MiB")
    monkeypatch.setenv("AGENTSD_ENGINES_MEMORY", "2G")
    monkeypatch.setenv("AGENTSD_ENGINE_THREADS", "1")
    limits = make_sessions(load_settings()).engines.limits
    assert set(limits.folders) == {str((tmp_path / "real").resolve()), "/srv/models"}
    assert (limits.memory, limits.total_memory) == (512 << 20, 2 << 30)
    assert Engines(limits).threads(256) == Engines(limits).threads(None) == 1


def test_a_size_that_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused at the start, by its name."""
    monkeypatch.setenv("AGENTSD_ENGINE_MEMORY", "lots")
    with pytest.raises(ConfigError, match="AGENTSD_ENGINE_MEMORY"):
        load_settings()


def test_what_is_derived() -> None:
    """Without settings: shares of what the machine or container has, and no folder at all."""
    pool = Engines()._pool
    assert 0 < pool.memory < pool.total_memory < available_memory()
    assert EngineLimits().folders == ()
