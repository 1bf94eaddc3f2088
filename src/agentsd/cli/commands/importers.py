"""``agentsd import-env`` and ``agentsd import``: other systems' configuration as sealed manifests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentsd.cli.commands.author import PATH_OPTION, require_valid
from agentsd.cli.commands.new import choose_manifest_path
from agentsd.cli.compose.factories import load_settings, make_catalog, make_opener, make_sops
from agentsd.cli.output import get_stderr, get_stdout, print_json, print_lines
from agentsd.core.errors import ConfigError, SealError, SealLocked
from agentsd.core.manifest.document import parse_document
from agentsd.core.names import derive_slug, slug_from_url
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.control.importers.dotenv import EnvFile, MigratedEnv
    from agentsd.control.importers.draft import ImportNote, ManifestDraft
    from agentsd.control.sealing.bootstrap import Bootstrap

_MARKS = {
    "used": ("green", "✓"),
    "assumed": ("yellow", "?"),
    "unused": ("dim", "-"),
    "placeholder": ("yellow", "!"),
    "missing": ("bold red", "✗"),
}
DRY_RUN_OPTION = click.option("--dry-run", is_flag=True, help="Report only; write nothing.")
FORMAT_OPTION = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")


@dataclass(frozen=True, slots=True)
class ImportedManifest:
    """Result of importing one manifest. ``opened``: the available key opened what was written."""

    draft: ManifestDraft
    file: Path
    opened: bool = False


@click.command("import-env")
@click.argument("env_file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@PATH_OPTION
@click.option("--slug", default="development", help="Slug of the agent [development].")
@click.option("--name", help="Display name [Development Agent].")
@DRY_RUN_OPTION
@FORMAT_OPTION
def import_env_command(
    env_file: Path, path: Path | None, slug: str, name: str | None, dry_run: bool, form: str
) -> None:
    """Make one sealed manifest of the previous system's .env, and report the result for every variable.

    The file is parsed, never run, and stays as it is. Secrets are sealed and never shown; placeholders
    such as `changeme` are reported, and not written. A missing .sops.yaml is created, and so is a
    missing age key, outside the repository.

    \b
    Examples:
      agentsd import-env .env --dry-run
      agentsd import-env .env
      agentsd import-env old/.env --slug acme/desk --name "Front desk"
    """
    settings = load_settings(path=path)
    _, migrated = read_migrated(env_file)
    slug = slug_from_url(slug)
    file = choose_manifest_path(settings.path, slug)
    if not migrated.sections:
        _print_report(form, env_file, (), migrated.notes, None, written=False)
        raise ConfigError(
            f"{env_file} does not define an agent", hint="docs/howto/migrate.md lists the variables"
        )
    draft = make_env_draft(settings, migrated, slug, name)
    made = None if dry_run else asyncio.run(write_drafts(settings, {file: draft}))
    imported = made[0] if made else [ImportedManifest(draft, file)]
    _print_report(form, env_file, imported, migrated.notes, made[1] if made else None, written=not dry_run)
    if made and form == "text":
        text = f"{env_file} is unchanged: it contains keys in plain text, so remove it once the agent answers"
        print_lines(get_stderr(), [(("dim", f"    → {text}"),)])


def read_migrated(file: Path) -> tuple[EnvFile, MigratedEnv]:
    """Return the content of a .env, and the agent it makes. Raises ``ConfigError``."""
    from agentsd.control.importers.dotenv import migrate_env, read_env

    read = read_env(str(file), file.read_bytes())
    return read, migrate_env(read, make_catalog())


def make_env_draft(
    settings: Settings, migrated: MigratedEnv, slug: str, name: str | None = None
) -> ManifestDraft:
    """Return the manifest of what was read."""
    from agentsd.control.importers.dotenv import MANIFEST_HEAD
    from agentsd.control.importers.draft import make_draft

    head = {**MANIFEST_HEAD, "name": name} if name else MANIFEST_HEAD
    return make_draft(slug, head, migrated.sections, make_catalog(), settings.trusted_origins)


async def write_drafts(
    settings: Settings, drafts: Mapping[Path, ManifestDraft]
) -> tuple[list[ImportedManifest], Bootstrap | None]:
    """Seal and check every draft, then write all of them.

    Raises before anything but keys is written.
    """
    from agentsd.control.importers.draft import seal_draft
    from agentsd.control.sealing.bootstrap import ensure_creation_rules
    from agentsd.control.writeback.manifest_editor import make_schema_line
    from agentsd.files.atomic.compare_and_swap import compare_and_swap

    secret = any(draft.has_secrets for draft in drafts.values())
    founded = ensure_creation_rules(settings.path, os.environ, Path.home()) if secret else None
    sops = make_sops(settings)
    results: dict[Path, tuple[bytes, bool]] = {}
    for file, draft in drafts.items():
        relative = file.relative_to(settings.path).as_posix()
        line = make_schema_line(settings.path, derive_slug(relative))
        data = await seal_draft(draft, file, relative, sops, line)
        await require_valid(settings, relative, data)
        results[file] = data, await _can_open(settings, relative, data, draft)
    for file, (data, _) in results.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        compare_and_swap(file, None, data)
    return [ImportedManifest(draft, file, results[file][1]) for file, draft in drafts.items()], founded


async def _can_open(settings: Settings, relative: str, data: bytes, draft: ManifestDraft) -> bool:
    """Return whether the available key opens it; without one, or with another's, that is unknown."""
    opener = make_opener(settings)
    if not opener.can_open:
        return False
    try:
        opened = await opener.open_surely(parse_document(relative, data))
    except SealLocked:
        return False
    if opened.value != draft.value:
        raise SealError(
            "the sealed manifest does not open to the values that were read", hint="please report this"
        )
    return True


def _print_report(
    form: str,
    source: Path,
    imported: Sequence[ImportedManifest],
    notes: Sequence[ImportNote],
    founded: Bootstrap | None,
    *,
    written: bool,
) -> None:
    from agentsd.control.importers.draft import count_notes

    if form == "json":
        manifests = [_make_view(one) for one in imported]
        view = {
            "source": str(source),
            "written": written,
            "manifests": manifests,
            "counts": count_notes(notes),
            "notes": [note.view() for note in notes],
            "key": str(founded.key) if founded and founded.key else None,
            "rules": str(founded.rules) if founded and founded.rules else None,
        }
        print_json(view)
        return
    print_lines(get_stdout(), [*_format_notes(notes)])
    print_imported(imported, founded, written=written)


def _make_view(one: ImportedManifest) -> dict[str, Any]:
    return {
        "slug": one.draft.slug,
        "path": str(one.file),
        "providers": one.draft.providers,
        "sealed": one.draft.has_secrets,
        "opened": one.opened,
    }


def _format_notes(notes: Sequence[ImportNote]) -> Iterable[tuple[tuple[str, str], ...]]:
    width = min(max((len(note.name) for note in notes), default=0), 40)
    for note in notes:
        style, mark = _MARKS[note.outcome]
        where = f"  (line {note.line})" if note.line and not note.name.startswith("line ") else ""
        yield (
            (style, f"  {mark} "),
            ("", f"{note.name:<{width}}  "),
            ("dim", f"{note.outcome}: "),
            (
                "",
                note.text,
            ),
            ("dim", where),
        )


def print_imported(imported: Sequence[ImportedManifest], founded: Bootstrap | None, *, written: bool) -> None:
    """Print what was written, one line each."""
    lines: list[tuple[tuple[str, str], ...]] = []
    for path, what in ((founded.key, "age key"), (founded.rules, "rules")) if founded else ():
        if path:
            note = "; keep a copy in a safe place: no secret opens without it" if what == "age key" else ""
            lines.append((("green", "✓ "), ("", f"made the {what} {path}"), ("dim", note)))
    for one in imported:
        vendors = ", ".join(f"{kind} {vendor}" for kind, vendor in one.draft.providers.items())
        state = "sealed, valid and opened" if one.opened and one.draft.has_secrets else "valid"
        done = f"wrote {one.file}" if written else f"would write {one.file}"
        lines.append(
            (("green", "✓ "), ("", f"{done}  ({vendors})"), ("dim", f"; {state}" if written else ""))
        )
    print_lines(get_stderr(), lines)


@click.command("import")
@click.option("--from", "kind", type=click.Choice(["litellm"]), required=True, help="Format of FILE.")
@click.argument("config", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@PATH_OPTION
@click.option("--owner", default="", help="Folder for the agents [the top level].")
@DRY_RUN_OPTION
@FORMAT_OPTION
def import_command(kind: str, config: Path, path: Path | None, owner: str, dry_run: bool, form: str) -> None:
    """Make sealed manifests of another system's configuration: LiteLLM's config.yaml, one agent per model.

    Keys that it reads from the environment (os.environ/NAME) are read from yours, and sealed. What cannot
    be imported is reported; deployments of one name become fallbacks of one agent.

    \b
    Examples:
      agentsd import --from litellm config.yaml --dry-run
      agentsd import --from litellm config.yaml --owner acme
    """
    from agentsd.control.importers.litellm import migrate_config, read_config

    settings = load_settings(path=path)
    read = read_config(str(config), config.read_bytes())
    trusted = settings.trusted_origins
    migrated = migrate_config(read, os.environ, make_catalog(), owner=owner, trusted=trusted)
    if not migrated.drafts:
        _print_report(form, config, (), migrated.notes, None, written=False)
        raise ConfigError(f"{config} has no model that can become an agent", hint="see the notes above")
    drafts = {choose_manifest_path(settings.path, draft.slug): draft for draft in migrated.drafts}
    if dry_run:
        imported, founded = [ImportedManifest(draft, file) for file, draft in drafts.items()], None
    else:
        imported, founded = asyncio.run(write_drafts(settings, drafts))
    _print_report(form, config, imported, migrated.notes, founded, written=not dry_run)
    if any(note.outcome == "missing" for note in migrated.notes):
        sys.exit(1)
