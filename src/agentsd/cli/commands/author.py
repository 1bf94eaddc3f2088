"""``agentsd edit`` and ``agentsd seal``: change manifests by hand."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import click

from agentsd.cli.compose.factories import load_settings, make_checker, make_opener, make_sops
from agentsd.cli.output import get_stderr, print_lines, show_violations
from agentsd.core.errors import ConfigError, InvalidManifests, SealError
from agentsd.core.manifest.document import parse_document
from agentsd.core.names import SUFFIXES, slug_from_url
from agentsd.core.violations import filter_errors
from agentsd.files.atomic.compare_and_swap import replace_file
from agentsd.files.tree import SourceFile, TreeContext, read_tree
from agentsd.settings import Settings

PATH_OPTION = click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d].")


ENV_OPTION = click.option("--env", metavar="NAME", help="Merge the overlay envs/NAME over the manifests.")


async def require_valid(settings: Settings, relative: str, data: bytes) -> None:
    """Raise ``InvalidManifests`` if ``data`` may not become the manifest ``relative``."""
    checker = make_checker(settings)
    file = SourceFile(relative, (0, 0, 0, 0), sha256(data).digest(), data)
    beside = read_tree(settings.path).beside if settings.path.is_dir() else TreeContext()
    checked = await checker.check_wholly(file, beside)
    errors = filter_errors(checked.violations)
    if errors:
        raise InvalidManifests([replace(v, path=f"{settings.path}/{v.path}") for v in errors])


@click.command("seal")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@PATH_OPTION
def seal_command(files: tuple[Path, ...], path: Path | None) -> None:
    """Seal the secrets of plain manifests, by the rules of .sops.yaml.

    Comments, order and blank lines stay as they are; only secrets change, and a `sops` block is added.

    \b
    Examples:
      agentsd seal agents.d/support.yaml
    """
    settings = load_settings(path=path)
    for file in files:
        asyncio.run(_seal_file(settings, file))
        print_lines(get_stderr(), [(("green", "✓ "), ("", f"sealed {file}"))])


async def _seal_file(settings: Settings, file: Path) -> None:
    from agentsd.control.sealing.seal import seal_document

    relative = _make_relative(settings.path, file)
    data = await seal_document(parse_document(str(file), file.read_bytes()), file, make_sops(settings))
    await require_valid(settings, relative, data)
    replace_file(file, data)


def _make_relative(root: Path, file: Path) -> str:
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ConfigError(
            f"{file} is not in {root}", hint="name the folder of manifests with --path"
        ) from None


@click.command("edit")
@click.argument("agent")
@PATH_OPTION
def edit_command(agent: str, path: Path | None) -> None:
    """Open a sealed manifest in your editor ($VISUAL, $EDITOR), then validate it and seal it again.

    The plaintext is in a file that only you can read, in memory where the system supports it.
    The manifest is replaced only if the result is valid. AGENT is a slug or a file.

    \b
    Examples:
      agentsd edit acme/sales
      EDITOR="code --wait" agentsd edit agents.d/support.yaml
    """
    settings = load_settings(path=path)
    file = _find_manifest(settings.path, agent)
    changed = _edit_file(settings, file)
    what = f"updated {file}" if changed else f"{file} is unchanged"
    print_lines(get_stderr(), [(("green", "✓ "), ("", what))])


def _find_manifest(root: Path, agent: str) -> Path:
    candidates = [Path(agent), *(root / f"{slug_from_url(agent)}{suffix}" for suffix in SUFFIXES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"there is no manifest of {agent!r} in {root}", hint=f"to create one: agentsd new {agent}"
    )


def _edit_file(settings: Settings, file: Path) -> bool:
    """Edit a hidden, still sealed copy beside the file, until it is valid or given up."""
    relative = _make_relative(settings.path, file)
    before = file.read_bytes()
    copy = file.with_name(f".{file.name}.edit.{os.getpid()}.yaml")
    try:
        copy.write_bytes(before)
        copy.chmod(0o600)
        while True:
            _run_editor(settings, copy, sealed="sops" in parse_document(str(file), before).value)
            after = copy.read_bytes()
            if after == before:
                return False
            if file.read_bytes() != before:
                raise ConfigError(
                    f"{file} was changed by another process meanwhile", hint="nothing was written: edit again"
                )
            if _accept_edit(settings, relative, after):
                replace_file(file, after)
                return True
    finally:
        copy.unlink(missing_ok=True)


def _accept_edit(settings: Settings, relative: str, data: bytes) -> bool:
    """Return True for a valid edit, False to edit again.

    Raises if the user cannot be asked, or gives up.
    """
    try:
        asyncio.run(require_valid(settings, relative, data))
    except InvalidManifests as error:
        if not sys.stdin.isatty():
            raise
        show_violations(error.violations)
        if click.confirm("Edit again?", default=True, err=True):
            return False
        raise
    return True


def _run_editor(settings: Settings, copy: Path, *, sealed: bool) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if not sealed:
        code = subprocess.run([*shlex.split(editor), str(copy)], check=False).returncode
        if code:
            raise ConfigError(f"the editor exited with status {code}", hint="set EDITOR to a working editor")
        return
    from agentsd.sops.editor import edit_in_place

    sops, data = make_sops(settings), copy.read_bytes()
    environ = sops.environment_of_editor(data, os.environ, opened=_can_open(settings, data))
    edit_in_place(sops.executable, copy, editor, environ)


def _can_open(settings: Settings, data: bytes) -> bool:
    """Return whether an available age key opens a file, of one group of keys, without sops."""
    document = parse_document("", data)
    if document.value["sops"].get("key_groups"):
        return False
    try:
        make_opener(settings).open(document)
    except (SealError, ConfigError):
        return False
    return True
