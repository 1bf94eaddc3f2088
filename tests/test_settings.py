"""Settings: what the environment says, and what the command line says over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agentsd.settings import Settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables in capitals or not; unknown ones are ignored, and an option overrides its variable."""
    monkeypatch.setenv("AGENTSD_SOURCE", "tree")
    monkeypatch.setenv("agentsd_max_connections", "7")
    monkeypatch.setenv("AGENTSD_TRUSTED_ORIGINS", "https://one.example, https://two.example/")
    monkeypatch.setenv("AGENTSD_NO_SUCH_SETTING", "1")
    monkeypatch.setenv("AGENTSD_PATH", "elsewhere")
    settings = Settings(path=Path("here"))
    assert (settings.source, settings.max_connections, settings.path) == ("tree", 7, Path("here"))
    assert settings.trusted_origins == {"https://one.example", "https://two.example"}


def test_a_wrong_value_names_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is of the variable; settings cannot be changed afterwards."""
    monkeypatch.setenv("AGENTSD_MAX_CONNECTIONS", "many")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [("max_connections",)]
    monkeypatch.delenv("AGENTSD_MAX_CONNECTIONS")
    with pytest.raises(ValidationError):
        Settings().source = "other"  # type: ignore[misc]
