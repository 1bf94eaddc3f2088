"""``agentsd validate``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from agentsd import __version__
from agentsd.cli.commands.author import ENV_OPTION
from agentsd.cli.compose.factories import load_settings, make_checker
from agentsd.cli.output import get_stderr, print_json, print_lines, show_violations
from agentsd.core.errors import ConfigError
from agentsd.core.text.render import prefix_path, violation_to_json, violations_to_github, violations_to_sarif
from agentsd.core.violations import UNVERIFIED, Violation, filter_errors
from agentsd.settings import Settings


@click.command("validate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--path", "root", type=click.Path(path_type=Path), help="Folder of manifests [agents.d].")
@ENV_OPTION
@click.option("--format", "form", type=click.Choice(["text", "json", "github", "sarif"]), default="text")
@click.option("--strict", is_flag=True, help="Treat warnings as errors, except for unverified seals.")
@click.option(
    "--require-mac", is_flag=True, help="Treat a seal that no available key can verify as an error."
)
def validate_command(
    paths: tuple[Path, ...], root: Path | None, env: str | None, form: str, strict: bool, require_mac: bool
) -> None:
    """Check manifests: syntax, seals, recipients, destinations and rules across files.

    Needs no key and no database. Exits with 0, or 1 where a file breaks a rule.

    \b
    Examples:
      agentsd validate                          every manifest of agents.d
      agentsd validate agents.d/acme/sales.yaml what concerns this file
      agentsd validate --format github          as annotations of a pull request
    """
    settings = load_settings(path=root, env=env)
    folder, wanted = _select_files(settings.path, paths)
    violations = asyncio.run(_validate_folder(folder, settings, wanted, require_mac=require_mac))
    _print_violations(violations, form, folder)
    if filter_errors(violations) or (strict and any(v.code not in UNVERIFIED for v in violations)):
        sys.exit(1)


async def _validate_folder(
    folder: Path, settings: Settings, wanted: tuple[str, ...], *, require_mac: bool
) -> tuple[Violation, ...]:
    from agentsd.control.validation.recipients import Recipients, find_recipients
    from agentsd.control.validation.validate import check_recipients, validate_tree
    from agentsd.files.tree import list_overlays, read_tree, read_tree_at_rest

    checker = make_checker(settings, require_mac=require_mac)
    tree = read_tree_at_rest(folder, env=settings.env)
    rules = find_recipients(folder) or Recipients(folder, ())
    violations = await validate_tree(tree, checker, rules)
    for env in list_overlays(folder):  # whoever left must not open the other overlays, either
        other = read_tree(folder, tree, env=env)
        above = {path: other.files[path] for path in other.files.keys() - tree.files.keys()}
        violations += tuple(check_recipients(replace(other, files=above), rules))
    if not wanted:
        return violations
    chosen = frozenset(path for path in tree.files if _is_selected(path, wanted))
    files = tree.concerned(chosen)
    return tuple(v for v in violations if v.path in files or _is_selected(v.path, wanted))


def _select_files(root: Path, paths: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """Return the tree to read, and which of its files to report on (none: all).

    A path inside the tree is checked as a part of it; a single folder elsewhere is a tree of its own.
    """
    inside = [path for path in paths if path.resolve().is_relative_to(root.resolve())]
    if len(inside) == len(paths):
        return root, tuple(path.resolve().relative_to(root.resolve()).as_posix() for path in inside)
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0], ()
    outside = next(path for path in paths if path not in inside)
    raise ConfigError(f"{outside} is not in {root}", hint="name the folder of manifests with --path")


def _is_selected(path: str, wanted: tuple[str, ...]) -> bool:
    return any(w in (".", path) or path.startswith(f"{w}/") for w in wanted)


def _print_violations(violations: tuple[Violation, ...], form: str, folder: Path) -> None:
    prefix = f"{folder.as_posix().rstrip('/')}/"
    if form == "json":
        print_json(
            {"violations": [violation_to_json(v) | {"path": prefix_path(prefix, v.path)} for v in violations]}
        )
    elif form == "github":
        sys.stdout.write(violations_to_github(violations, prefix))
    elif form == "sarif":
        print_json(violations_to_sarif(violations, __version__, prefix))
    elif violations:
        show_violations(violations, prefix)
    else:
        print_lines(get_stderr(), [(("green", "✓ "), ("", f"{folder}: every manifest is valid"))])
