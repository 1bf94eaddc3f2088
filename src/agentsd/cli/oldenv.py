"""What the long-running processes do with the system before: its ``.env``, and its environment variables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentsd.cli.compose import make_catalog
from agentsd.cli.output import print_lines, show_error, stderr
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.files.tree import read_tree
from agentsd.settings import Settings
from agentsd.store.database import Database

if TYPE_CHECKING:
    from agentsd.runtime.building import Builder
    from agentsd.runtime.fallback import Fallback
    from agentsd.runtime.registry import Registry
    from agentsd.runtime.resolving import History
    from agentsd.telemetry import Metrics

ENV_FILE = Path(".env")


async def first_import(settings: Settings, database: Database) -> str | None:
    """Import the ``.env`` of the working folder, where there are no manifests and never were any.

    Its slug, or None. What cannot be imported is told, and stops nothing.
    """
    if not ENV_FILE.is_file() or _has_manifests(settings.path) or not await _is_new(database):
        return None
    from agentsd.cli.importing import env_draft, read_migrated, tell_made, write_all
    from agentsd.cli.new import new_file
    from agentsd.control.envfile import SLUG
    from agentsd.control.oldnames import NAMES

    try:
        read, migrated = await asyncio.to_thread(read_migrated, ENV_FILE)
        if not NAMES & read.variables.keys():
            return None
        if "llm" not in migrated.sections:
            raise ConfigError("it names no LLM that can be used yet")
        file = new_file(settings.path, SLUG)
        imported, founded = await write_all(settings, {file: env_draft(settings, migrated, SLUG)})
    except (AgentsdError, OSError) as error:
        reason = error.message if isinstance(error, AgentsdError) else str(error.strerror)
        text = f"{ENV_FILE} is not imported: {reason}"
        show_error(ConfigError(text, hint=f"see all of it: agentsd import-env {ENV_FILE} --dry-run"))
        return None
    text = f"no manifests yet: {ENV_FILE} of the system before was imported, and stays as it is"
    print_lines(stderr(), [(("green", "  ✓ "), ("", text))])
    tell_made(imported, founded, written=True)
    hint = f"what became of every variable: agentsd import-env {ENV_FILE} --slug again --dry-run"
    print_lines(stderr(), [(("dim", f"    → {hint}"),)])
    return SLUG


def _has_manifests(root: Path) -> bool:
    """Reserved files and layers count: somebody has begun."""
    try:
        return bool(read_tree(root).files)
    except ConfigError:
        return root.exists()


async def _is_new(database: Database) -> bool:
    """Whether nothing was ever applied: a folder that was emptied is not a first start."""
    from agentsd.store.agents import NOTHING, head

    try:
        async with database.transaction(snapshot=True) as connection:
            return (await head(connection)).version == NOTHING.version
    except AgentsdError:
        return False


def make_registry(settings: Settings, builder: Builder, history: History, metrics: Metrics) -> Registry:
    """The running agents; where no other answers, the one of the old system's variables does."""
    from agentsd.runtime.registry import Registry

    try:
        return Registry(builder, history, metrics, fallback=env_fallback(settings, os.environ))
    except AgentsdError as error:
        text = f"no agent is made of environment variables: {error.message}"
        show_error(ConfigError(text, hint=error.hint or "set AGENTSD_ENV_AGENT=off"))
        return Registry(builder, history, metrics)


def env_fallback(settings: Settings, environ: Mapping[str, str]) -> Fallback | None:
    """The agent of the old system's variables in the environment; None where they make none, or it is off.

    It answers in place of the built-in one, until manifests take over.
    """
    if settings.env_agent == "off":
        return None
    from agentsd.control.oldnames import NAMES

    if not NAMES & environ.keys():
        return None
    from agentsd.control.envfile import HEAD, SLUG, is_old, migrate, read_environ
    from agentsd.core.agent import AgentHead
    from agentsd.runtime.fallback import Fallback

    catalog = make_catalog()
    read = read_environ(environ)
    migrated = migrate(read, catalog)
    if "llm" not in migrated.sections or not is_old(read, migrated):
        return None
    sections = {kind: catalog.settings_of(kind, section) for kind, section in migrated.sections.items()}
    head = AgentHead.model_validate({**HEAD, "description": "Made of environment variables, in memory only"})
    _warn(sorted(note.name for note in migrated.notes if note.outcome == "used"))
    return Fallback(SLUG, head, sections)


def _warn(names: list[str]) -> None:
    text = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    lines = [
        (
            ("yellow", "  ! "),
            ("", f"deprecated: the agent 'development' is made of environment variables ({text})"),
        ),
        (("dim", "    → make it a sealed manifest: agentsd import-env .env; or AGENTSD_ENV_AGENT=off"),),
    ]
    print_lines(stderr(), lines)
