"""``agentsd schema``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agentsd.cli.compose.factories import make_catalog
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import AgentsdError


@click.command("schema")
@click.option(
    "--write", "write_to", type=click.Path(path_type=Path), metavar="DIR", help="Write the schemas."
)
@click.option(
    "--check", "check_in", type=click.Path(path_type=Path), metavar="DIR", help="Fail if they differ."
)
def schema_command(write_to: Path | None, check_in: Path | None) -> None:
    """Write or check the JSON Schemas of manifests and user files; without options, print the agent's.

    \b
    Examples:
      agentsd schema --write schemas    after adding a provider
      agentsd schema --check schemas    in CI
    """
    from agentsd.control.validation.schema import share_schemas

    files = dict(share_schemas(make_catalog()).files())
    if write_to:
        _write_schemas(write_to, files)
    elif check_in:
        _check_schemas(check_in, files)
    else:
        sys.stdout.write(files["agent.schema.json"])


def _write_schemas(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        print_lines(get_stderr(), [(("green", "✓ "), ("", f"wrote {folder / name}"))])


def _check_schemas(folder: Path, files: dict[str, str]) -> None:
    stale = [name for name, text in files.items() if _read_text(folder / name) != text]
    if stale:
        raise AgentsdError(
            f"{', '.join(str(folder / name) for name in stale)}: differs from what this version generates",
            hint=f"run: agentsd schema --write {folder}",
        )
    print_lines(get_stderr(), [(("green", "✓ "), ("", f"the schemas in {folder} are up to date"))])


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
