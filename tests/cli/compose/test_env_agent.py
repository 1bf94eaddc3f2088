"""When the old system's ``.env`` and variables are taken up, and when they are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentsd.cli.commands.first_import import import_first_env
from agentsd.cli.compose.env_agent import load_env_fallback, make_registry
from agentsd.core.trust.outbound import Outbound
from agentsd.providers.catalog import default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.document_history import StoreDocumentHistory
from agentsd.settings import Settings
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.telemetry import Metrics
from tests.cli.conftest import Shell
from tests.control.place import echo
from tests.development import LLM_KEY, sample

OLD = {"LLM_PROVIDER": "groq.com", "GROQ_LLM_API_KEY": LLM_KEY}


def start(url: str) -> str | None:
    """What the beginning of ``up`` imports."""

    async def look() -> str | None:
        database = Database(url)
        try:
            return await import_first_env(Settings(path=Path("agents.d")), database)
        finally:
            await database.aclose()

    return asyncio.run(look())


@pytest.fixture
def fresh(keyed: Shell) -> Shell:
    """The old system's file, no manifests, and a database in which nothing ever was."""
    (keyed.root / ".env").write_text(sample())
    return keyed


def test_it_is_imported_once(fresh: Shell, database_url: str) -> None:
    """Then there is a manifest; and once that was synced, its absence is no first start either."""
    assert start(database_url) == "development"
    assert start(database_url) is None
    fresh.env(AGENTSD_DATABASE_URL=database_url)
    assert fresh.run("sync").code == 0
    (fresh.root / "agents.d/development.yaml").unlink()
    assert start(database_url) is None
    assert list((fresh.root / "agents.d").iterdir()) == []


def test_never_where_manifests_exist(fresh: Shell, database_url: str) -> None:
    """Reserved files count: somebody has begun."""
    for name in ("a.yaml", "acme/b.yml", "_user.yaml", "_defaults.yaml"):
        file = fresh.write(name, echo(1))
        assert start(database_url) is None
        file.unlink()
    assert not (fresh.root / "agents.d/development.yaml").exists()


def test_never_of_another_program(
    fresh: Shell, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor where there is none; that is no word worth."""
    env = fresh.root / ".env"
    for text in ("DATABASE_URL=x\n", "", None):
        env.write_text(text) if text is not None else env.unlink()
        assert start(database_url) is None
    assert list((fresh.root / "agents.d").iterdir()) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GROQ_LLM_API_KEY=\xff\n", "not UTF-8"),
        (b"GROQ_LLM_API_KEY=changeme\nSTT_PROVIDER=whisper.local\n", "does not name an LLM that can be used"),
    ],
)
def test_what_cannot_be_imported_is_told(
    fresh: Shell, database_url: str, data: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And stops nothing; once it is filled in, it is imported."""
    (fresh.root / ".env").write_bytes(data)
    assert start(database_url) is None
    assert words in capsys.readouterr().err
    (fresh.root / ".env").write_text(sample())
    assert start(database_url) == "development"


def test_not_while_postgres_is_away(fresh: Shell) -> None:
    """Nobody knows then whether it is a first start."""
    assert start("postgresql://nobody@127.0.0.1:1/none") is None


def test_the_environment_s_agent(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """With a warning that names the command; off where it is switched off, or nothing is there to be used."""
    found = load_env_fallback(Settings(), OLD)
    assert found is not None
    assert (found.slug, found.settings["llm"].provider) == ("development", "groq.com")
    assert LLM_KEY not in repr(found)
    said = capsys.readouterr().err
    assert "agentsd import-env" in said
    assert LLM_KEY not in said
    assert load_env_fallback(Settings(env_agent="off"), OLD) is None
    for environ in ({}, {"LLM_PROVIDER": "groq.com"}, OLD | {"GROQ_LLM_API_KEY": "changeme"}):
        assert load_env_fallback(Settings(), environ) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("allowed", ["api.groq.com", "api.mistral.ai"])
async def test_where_it_cannot_be_built_the_built_in_one_answers(
    shell: Shell, capsys: pytest.CaptureFixture[str], allowed: str
) -> None:
    """Outbound rules hold for it; why it is not there is told, and the server starts."""
    for name, value in OLD.items():
        shell.env(**{name: value})
    sessions = HttpSessions(outbound=Outbound.parse(frozenset({allowed, "whisper-stt"})))
    builder = Builder(Opener(Identities(), None), default_catalog(), sessions)
    history = StoreDocumentHistory(Database("postgresql://nobody@127.0.0.1:1/none"))
    registry = make_registry(Settings(), builder, history, Metrics())
    said = capsys.readouterr().err
    if allowed == "api.groq.com":
        assert (registry.fallback.slug, registry.shares_fallback) == ("development", False)
    else:
        assert (registry.fallback.slug, registry.shares_fallback) == ("echo", True)
        assert "no agent is made of environment variables" in said
    assert LLM_KEY not in said
    await registry.aclose()
    await sessions.aclose()
