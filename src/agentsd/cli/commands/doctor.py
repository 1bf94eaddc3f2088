"""``agentsd doctor``."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentsd import __version__
from agentsd.cli.compose.factories import load_settings, make_catalog, make_checker, make_sops, open_database
from agentsd.cli.output import get_stdout, print_lines
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.core.violations import filter_errors

if TYPE_CHECKING:
    from agentsd.settings import Settings


@click.command("doctor")
@click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d].")
def doctor_command(path: Path | None) -> None:
    """Check the setup: sops, keys, manifests, database. Changes nothing; exits with 1 if anything is wrong.

    \b
    Examples:
      agentsd doctor
    """
    settings = load_settings(path=path)
    if not asyncio.run(_run_checks(settings)):
        sys.exit(1)


async def _run_checks(settings: Settings) -> bool:
    print_lines(
        get_stdout(), [(("bold", f"agentsd {__version__}"), ("dim", f"  Python {platform.python_version()}"))]
    )
    well = True
    for name, check in (
        ("sops", _check_sops),
        ("keys", _check_keys),
        ("recipients", _check_recipients),
        ("manifests", _check_manifests),
        ("database", _check_database),
        ("local", _check_local_providers),
    ):
        try:
            line = (("green", "  ✓ "), ("bold", f"{name:<11}"), ("", await check(settings)))
            print_lines(get_stdout(), [line])
        except AgentsdError as error:
            well = False
            print_lines(get_stdout(), [(("bold red", "  ✗ "), ("bold", f"{name:<11}"), ("", error.message))])
            if error.hint:
                print_lines(get_stdout(), [(("dim", "                → "), ("", error.hint))])
    return well


async def _check_sops(settings: Settings) -> str:
    return f"{await make_sops(settings).version()} works"


async def _check_keys(settings: Settings) -> str:
    from agentsd.sops.identities import find_identities

    found = find_identities(os.environ, Path.home())
    names = [*found.recipients, *(f"{source} (used by sops itself only)" for source in found.others)]
    if not names:
        raise ConfigError(
            "no age key available: sealed manifests cannot be verified or run here",
            hint="set SOPS_AGE_KEY_FILE to the file with your key",
        )
    return ", ".join(names)


async def _check_recipients(settings: Settings) -> str:
    from agentsd.control.validation.recipients import find_recipients

    found = find_recipients(settings.path)
    if found is None:
        return "no .sops.yaml: new secrets cannot be sealed here"
    return f"{found.folder / '.sops.yaml'}: {len(found.rules)} rule{'s' if len(found.rules) != 1 else ''}"


async def _check_manifests(settings: Settings) -> str:
    from agentsd.control.validation.recipients import find_recipients
    from agentsd.control.validation.validate import validate_tree
    from agentsd.core.errors import InvalidManifests
    from agentsd.files.tree import read_tree_at_rest

    tree = read_tree_at_rest(settings.path, env=settings.env)
    violations = await validate_tree(tree, make_checker(settings), find_recipients(settings.path))
    if filter_errors(violations):
        raise InvalidManifests(filter_errors(violations))
    warnings = f", {len(violations)} warnings: see agentsd validate" if violations else ""
    return f"{len(tree.files)} files in {settings.path} are valid{warnings}"


async def _check_database(settings: Settings) -> str:
    if settings.database_url is None and not _is_embedded_running(settings):
        return "embedded, not running: `agentsd up` starts it"
    async with open_database(settings, start=False) as database, database.transaction(snapshot=True) as conn:
        from agentsd.store.queries import agents

        head = await agents.load_head(conn)
        return f"{database.place}, schema up to date, version {head.version}"


async def _check_local_providers(settings: Settings) -> str:
    """Report the local providers.

    They are optional: missing ones are reported with the command, and are not a failure.
    """
    from agentsd.core.manifest.agent import SECTIONS

    catalog = make_catalog()
    vendors = [(name, vendor.needs) for kind in SECTIONS for name, vendor in catalog.of(kind).items()]
    needs = {name: needed for name, needed in vendors if needed is not None}
    ready = [name for name, needed in needs.items() if not needed.missing()]
    missing = [f"{name}: {needed.advice()}" for name, needed in needs.items() if needed.missing()]
    return "; ".join([f"{', '.join(ready) or 'no provider'} can run on this machine", *missing])


def _is_embedded_running(settings: Settings) -> bool:
    from agentsd.store.embedded.server import attach_server, choose_default_data_dir

    return attach_server(settings.data_dir or choose_default_data_dir()) is not None
