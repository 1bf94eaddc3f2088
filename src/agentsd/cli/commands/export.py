"""``agentsd export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentsd.cli.compose.factories import load_settings, open_database, run
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.files.tree import read_tree

if TYPE_CHECKING:
    from agentsd.control.importers.export import ExportedFiles
    from agentsd.settings import Settings

_PATHS_MAX = 5


@click.command("export")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--source", help="Name of the tree [main].")
@click.option("--force", is_flag=True, help="Replace files with different content.")
def export_command(folder: Path | None, source: str | None, force: bool) -> None:
    """Write the database's manifests as files, byte for byte as they were synced; DIR is agents.d.

    Secrets stay sealed. Layers, prompts and user files are included; of knowledge the database contains only
    digests. A file with different content is never replaced without --force; a sync of the
    result changes nothing.

    \b
    Examples:
      agentsd export
      agentsd export restored/agents.d --source main
    """
    settings = load_settings(source=source, path=folder)
    exported = run(_gather_export(settings))
    _write_export(settings.path, exported, settings.source, force=force)


async def _gather_export(settings: Settings) -> ExportedFiles:
    from agentsd.control.importers.export import load_stored_files

    async with open_database(settings, start=False) as database:
        return await load_stored_files(database, settings.source)


def _write_export(root: Path, exported: ExportedFiles, source: str, *, force: bool) -> None:
    from agentsd.control.importers.export import compare_folder, write_files

    if not exported.files:
        raise ConfigError(f"the database contains nothing of source {source!r}", hint="see: agentsd status")
    comparison = compare_folder(root, exported)
    if comparison.other and not force:
        raise ConfigError(
            f"{_format_paths(root, comparison.other)}: the file has different content; nothing was written",
            hint="export into another folder, or replace it with --force",
        )
    write_files(root, exported, comparison)
    counts = f"{len(comparison.new)} new, {len(comparison.other)} replaced, {len(comparison.same)} unchanged"
    text = f"{root}: {exported.agents} agents and {exported.users} user files of source {source!r} ({counts})"
    print_lines(get_stderr(), [(("green", "✓ "), ("", text))])
    _report_others(root, exported)
    if comparison.lacking:
        raise AgentsdError(
            f"{_format_paths(root, comparison.lacking)}: not in the database, "
            "which contains only digests of knowledge",
            hint="copy it from git; a sync without it is refused",
        )


def _report_others(root: Path, exported: ExportedFiles) -> None:
    """Report what a sync of the folder would add."""
    others = sorted(read_tree(root).files.keys() - exported.files.keys())
    if others:
        text = f"{_format_paths(root, others)}: in the folder, but not in the database: a sync adds it"
        print_lines(get_stderr(), [(("yellow", "  ! "), ("", text))])


def _format_paths(root: Path, paths: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(str(root / path) for path in paths[:_PATHS_MAX])
    return f"{shown} and {len(paths) - _PATHS_MAX} more" if len(paths) > _PATHS_MAX else shown
