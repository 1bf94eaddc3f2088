"""``agentsd token``: API tokens, which are kept in ``_user.yaml`` as hashes."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from agentsd.cli.commands.author import PATH_OPTION, require_valid
from agentsd.cli.compose.audit import record_command
from agentsd.cli.compose.factories import load_settings, make_checker, run
from agentsd.cli.output import get_stderr, get_stdout, print_json, print_lines, show_violations
from agentsd.core.errors import ConfigError
from agentsd.core.names import DEFAULT_OWNER, USER_FILE, derive_owner
from agentsd.core.text.columns import format_columns
from agentsd.core.violations import Violation, suggest_word
from agentsd.files.tree import Tree, reread_files
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.core.api_tokens import ListedToken
    from agentsd.core.manifest.user import Role
    from agentsd.core.text.render import Line, Span

OWNER_OPTION = click.option(
    "--owner", default=DEFAULT_OWNER, help="Owner of the token [default: the top-level file]."
)

_Edit = Callable[[Mapping[str, Any]], dict[str, Any]]


@click.group("token")
def token_command() -> None:
    """Create, list and revoke API tokens. They are kept in _user.yaml, as hashes only.

    \b
    Examples:
      agentsd token create ci --role editor --expires 90d
      agentsd token list
      agentsd token revoke ci
    """


@token_command.command("create")
@click.argument("name")
@OWNER_OPTION
@click.option(
    "--role",
    type=click.Choice(["viewer", "editor", "admin"]),
    default="viewer",
    help="viewer reads and talks; editor also writes; admin (without --owner) sees all [viewer].",
)
@click.option("--expires", metavar="WHEN", help="90d, 12h, or the last valid day: 2027-01-31 [never].")
@PATH_OPTION
def create_command(name: str, owner: str, role: str, expires: str | None, path: Path | None) -> None:
    """Create a token, and print it: once, alone on standard output. It is not stored.

    Its SHA-256 goes into the owner's _user.yaml; commit that file like any other change.

    \b
    Examples:
      agentsd token create laptop
      agentsd token create ci --owner acme --role editor --expires 90d
      TOKEN=$(agentsd token create root --role admin --expires 2027-01-31)
    """
    from agentsd.core import api_tokens as tokens

    settings = load_settings(path=path)
    relative = tokens.user_path(owner)
    ends = tokens.resolve_expiry(expires, datetime.now(UTC)) if expires else None
    token = tokens.make_token(secrets.token_bytes(tokens.RANDOM_BYTES))
    entry = tokens.make_token_entry(name, owner, cast("Role", role), tokens.hash_token(token), ends)
    first = _is_open(settings)
    new_owner = not (settings.path / relative).parent.is_dir()
    edit = partial(tokens.add_token, entry=entry)
    run(_edit_user_file(settings, relative, edit, "token-create", f"token:{owner}/{name}"))
    print_lines(get_stderr(), _report_created(settings, relative, entry, first=first, new_owner=new_owner))
    sys.stdout.write(f"{token}\n")
    sys.stdout.flush()


@token_command.command("list")
@click.option("--owner", help="Only this owner's [all].")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@PATH_OPTION
def list_command(owner: str | None, form: str, path: Path | None) -> None:
    """List the tokens of every owner: name, role, expiry, and the start of the hash.

    \b
    Examples:
      agentsd token list
      agentsd token list --owner acme --format json
    """
    settings = load_settings(path=path)
    found, bad = _check_tokens(settings, owner)
    if form == "json":
        print_json({"tokens": [asdict(one) for one in found]})
    elif found:
        rows = [_format_row(one) for one in found]
        print_lines(get_stdout(), format_columns(("owner", "name", "role", "expires", "sha256"), rows))
    elif not bad:
        print_lines(get_stderr(), [(("", "there are no tokens; to create one: agentsd token create NAME"),)])
    if bad:
        show_violations(bad, f"{settings.path.as_posix()}/")
        sys.exit(1)


@token_command.command("revoke")
@click.argument("name")
@OWNER_OPTION
@PATH_OPTION
def revoke_command(name: str, owner: str, path: Path | None) -> None:
    """Revoke a token: take it out of its owner's _user.yaml. Live like any other change.

    \b
    Examples:
      agentsd token revoke laptop
      agentsd token revoke ci --owner acme
    """
    from agentsd.core import api_tokens as tokens

    settings = load_settings(path=path)
    relative = tokens.user_path(owner)
    _require_user_file(settings, relative)
    edit = partial(tokens.remove_token, name=name)
    run(_edit_user_file(settings, relative, edit, "token-revoke", f"token:{owner}/{name}"))
    lines: list[Line] = [
        (("green", "✓ "), ("", f"revoked token {name}: {settings.path / relative}")),
        _NEXT_STEP,
    ]
    if _is_open(settings):
        what = "it was the last: a loopback server is then open to this machine, others refuse all requests"
        lines.append((("yellow", "  ! "), ("", what)))
    print_lines(get_stderr(), lines)


def _format_row(one: ListedToken) -> list[Span]:
    ends = ("red", f"{one.expires} (expired)") if one.expired else ("", one.expires or "never")
    role = ("bold" if one.role == "admin" else "", one.role)
    return [("", one.owner), ("bold", one.name), role, ends, ("dim", one.hash)]


_NEXT_STEP: Line = (
    ("dim", "  live once it is synced: commit it and run agentsd sync, or let `up` or `watch` pick it up"),
)


async def _edit_user_file(settings: Settings, relative: str, edit: _Edit, action: str, target: str) -> None:
    """Edit a user file once: checked before it is replaced, and recorded if a database is available."""
    from agentsd.files.atomic.compare_and_swap import compare_and_swap
    from agentsd.files.atomic.folder_lock import lock_folder

    file = settings.path / relative
    async with lock_folder(settings.path):
        before = file.read_bytes() if file.exists() else None
        after = _rewrite_user_file(settings, relative, before, edit)
        await require_valid(settings, relative, after)
        file.parent.mkdir(exist_ok=True)
        compare_and_swap(file, before, after)
    await record_command(settings, action, target, path=relative, owner=derive_owner(relative))


def _rewrite_user_file(settings: Settings, relative: str, before: bytes | None, edit: _Edit) -> bytes:
    from agentsd.control.writeback.user_file import rewrite_user_file
    from agentsd.files.yaml.edit import parse_editable

    if before is None:
        return rewrite_user_file(settings.path, relative, None, edit({})).data
    document = parse_editable(f"{settings.path.as_posix()}/{relative}", before)  # UTF-8, or it is refused
    return rewrite_user_file(settings.path, relative, document, edit(document.value)).data


def _report_created(
    settings: Settings, relative: str, entry: Mapping[str, Any], *, first: bool, new_owner: bool
) -> list[Line]:
    """Return lines on what was done, and its consequences."""
    ends = entry.get("expires")
    lasts = f"until {ends} (UTC)" if ends else "without expiry (--expires sets one)"
    what = f"token {entry['name']} as {entry['role']}, {lasts}: {settings.path / relative}"
    lines: list[Line] = [
        (("green", "✓ "), ("", what)),
        (("dim", "  it is shown only now: keep it in a safe place; the file contains only its hash"),),
        _NEXT_STEP,
    ]
    if new_owner:
        folder = (settings.path / relative).parent
        lines.insert(1, (("yellow", "  ! "), ("", f"this owner is new: {folder} was created")))
    if first:
        lines.append(
            (("yellow", "  ! "), ("", "it is the first: once it is live, every request needs a token"))
        )
    return lines


def _check_tokens(settings: Settings, owner: str | None = None) -> tuple[list[ListedToken], list[Violation]]:
    """Return the tokens of every valid user file, or of one owner's, and the violations of the others."""
    from agentsd.core.api_tokens import list_tokens, user_path

    files = _list_user_files(settings.path)
    if owner is not None:
        _require_user_file(settings, user_path(owner))
        files = [user_path(owner)]
    found: list[ListedToken] = []
    bad: list[Violation] = []
    checker = make_checker(settings)
    for file in reread_files(Tree(settings.path, {}), files).files.values():
        checked = checker.check(file)
        bad += checked.violations
        if checked.user:
            found += list_tokens(checked.user.username, checked.user.tokens, datetime.now(UTC))
    return found, bad


def _is_open(settings: Settings) -> bool:
    """Return whether no request needs a token, according to the files."""
    found, bad = _check_tokens(settings)
    return not (found or bad or settings.token_file)


def _require_user_file(settings: Settings, relative: str) -> None:
    if not (settings.path / relative).is_file():
        near = suggest_word(
            derive_owner(relative), [derive_owner(file) for file in _list_user_files(settings.path)]
        )
        raise ConfigError(
            f"{settings.path / relative} does not exist: this owner has no token",
            hint=near or "see: agentsd token list",
        )


def _list_user_files(root: Path) -> list[str]:
    """Return the top-level file, then every owner's, relative to ``root``."""
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder", hint="name the folder of manifests with --path")
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
    names = (USER_FILE, *(f"{folder}/{USER_FILE}" for folder in folders))
    return [name for name in names if (root / name).is_file()]
