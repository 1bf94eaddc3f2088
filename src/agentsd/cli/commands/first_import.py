"""Import of the previous system's ``.env`` at the first start of ``up``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentsd.cli.output import get_stderr, print_lines, show_error
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.files.tree import read_tree
from agentsd.settings import Settings
from agentsd.store.database import Database

ENV_FILE = Path(".env")


async def import_first_env(settings: Settings, database: Database) -> str | None:
    """Import the ``.env`` of the working folder, if there are no manifests and never were any.

    Return its slug, or None. Values that cannot be imported are reported, and stop nothing.
    """
    if not ENV_FILE.is_file() or _has_manifests(settings.path) or not await _is_new(database):
        return None
    from agentsd.cli.commands.importers import make_env_draft, print_imported, read_migrated, write_drafts
    from agentsd.cli.commands.new import choose_manifest_path
    from agentsd.control.importers.dotenv import DEFAULT_SLUG
    from agentsd.control.importers.dotenv_names import VARIABLE_NAMES

    try:
        read, migrated = await asyncio.to_thread(read_migrated, ENV_FILE)
        if not VARIABLE_NAMES & read.variables.keys():
            return None
        if "llm" not in migrated.sections:
            raise ConfigError("it does not name an LLM that can be used")
        file = choose_manifest_path(settings.path, DEFAULT_SLUG)
        imported, founded = await write_drafts(
            settings, {file: make_env_draft(settings, migrated, DEFAULT_SLUG)}
        )
    except (AgentsdError, OSError) as error:
        reason = error.message if isinstance(error, AgentsdError) else str(error.strerror)
        text = f"{ENV_FILE} is not imported: {reason}"
        show_error(ConfigError(text, hint=f"full report: agentsd import-env {ENV_FILE} --dry-run"))
        return None
    text = f"no manifests yet: {ENV_FILE} of the previous system was imported; the file is unchanged"
    print_lines(get_stderr(), [(("green", "  ✓ "), ("", text))])
    print_imported(imported, founded, written=True)
    hint = f"result for every variable: agentsd import-env {ENV_FILE} --slug again --dry-run"
    print_lines(get_stderr(), [(("dim", f"    → {hint}"),)])
    return DEFAULT_SLUG


def _has_manifests(root: Path) -> bool:
    """Return whether there are manifests. Reserved files and layers count, too."""
    try:
        return bool(read_tree(root).files)
    except ConfigError:
        return root.exists()


async def _is_new(database: Database) -> bool:
    """Return whether nothing was ever applied: a folder that was emptied is not a first start."""
    from agentsd.store.queries.agents import EMPTY_HEAD, load_head

    try:
        async with database.transaction(snapshot=True) as connection:
            return (await load_head(connection)).version == EMPTY_HEAD.version
    except AgentsdError:
        return False
