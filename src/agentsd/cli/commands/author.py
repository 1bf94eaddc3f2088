"""``agentsd edit`` and ``agentsd seal``: change manifests by hand."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import click

from agentsd.cli.compose.factories import load_settings, make_checker, make_opener, make_sops
from agentsd.cli.output import get_stderr, print_lines, show_violations
from agentsd.core.errors import AgentsdError, ConfigError, InvalidManifests, SealError, SopsFailed
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.names import SUFFIXES, slug_from_url
from agentsd.core.violations import filter_errors
from agentsd.files.atomic.compare_and_swap import FileChanged, compare_and_swap, replace_file
from agentsd.files.tree import SourceFile, TreeContext, read_tree
from agentsd.settings import Settings

PATH_OPTION = click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d].")


ENV_OPTION = click.option("--env", metavar="NAME", help="Merge the overlay envs/NAME over the manifests.")


_LOCK_CODES = frozenset({"lock-missing", "lock-mismatch"})
"""A lock is written after the manifest that names its server, since that has to be sealed first."""


async def require_valid(settings: Settings, relative: str, data: bytes) -> None:
    """Raise ``InvalidManifests`` if ``data`` may not become the manifest ``relative``.

    A lock that does not fit it yet is left to ``validate``, and to `agentsd tools lock`.
    """
    checker = make_checker(settings)
    file = SourceFile(relative, (0, 0, 0, 0), sha256(data).digest(), data)
    beside = read_tree(settings.path).beside if settings.path.is_dir() else TreeContext()
    checked = await checker.check_wholly(file, beside)
    errors = [one for one in filter_errors(checked.violations) if one.code not in _LOCK_CODES]
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


@click.command("rotate")
@click.argument("agents", nargs=-1, required=True)
@PATH_OPTION
def rotate_command(agents: tuple[str, ...], path: Path | None) -> None:
    """Seal manifests again with a new data key, for the keys that .sops.yaml names now.

    The secrets stay as they are, and need a key that opens them. AGENTS are slugs, files, or folders,
    of which every sealed file is rotated: after somebody left, or where a folder of an owner was renamed.

    \b
    Examples:
      agentsd rotate acme/sales
      agentsd rotate agents.d/acme envs/prod/acme
    """
    settings = load_settings(path=path)
    for file in _list_sealed_files(settings.path, agents):
        asyncio.run(_rotate_file(settings, file))
        print_lines(get_stderr(), [(("green", "✓ "), ("", f"rotated {file}"))])


def _list_sealed_files(root: Path, agents: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for agent in agents:
        place = Path(agent) if Path(agent).exists() else root / agent
        if place.is_dir():
            files = sorted(one for one in place.rglob("*") if one.suffix in SUFFIXES and one.is_file())
            found += [one for one in files if _is_sealed(one)]
        else:
            found.append(_find_manifest(root, agent))
    return found


def _is_sealed(file: Path) -> bool:
    try:
        return "sops" in parse_document(str(file), file.read_bytes()).value
    except InvalidManifests:
        return False


async def _rotate_file(settings: Settings, file: Path) -> None:
    from agentsd.control.sealing.seal import seal_document
    from agentsd.control.sealing.text_edit import open_text

    before = file.read_bytes()
    document = parse_document(str(file), before)
    if "sops" not in document.value:
        raise ConfigError(f"{file} is not sealed", hint=f"a manifest with secrets: agentsd seal {file}")
    plain = parse_document(str(file), (await open_text(document, make_opener(settings))).encode())
    compare_and_swap(file, before, await seal_document(plain, file, make_sops(settings)))


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
    """Edit a manifest until it is valid or given up. An edit that cannot be written is kept beside it."""
    from agentsd.files.yaml.blocks import CannotEdit

    relative = _make_relative(settings.path, file)
    document = parse_document(str(file), file.read_bytes())
    if "sops" not in document.value:
        return _edit_plain(settings, file, relative, document.data)
    try:
        text = asyncio.run(_open_text(settings, document))
    except (CannotEdit, SealError, SopsFailed):  # sops can ask for a passphrase, and writes sealed comments
        return _edit_by_sops(settings, file, relative, document.data)
    return _edit_opened(settings, file, relative, document, text)


async def _open_text(settings: Settings, document: Document) -> str:
    from agentsd.control.sealing.text_edit import open_text

    return await open_text(document, make_opener(settings))


def _edit_opened(settings: Settings, file: Path, relative: str, document: Document, text: str) -> bool:
    """Edit the plain text of a sealed manifest; only what was edited changes."""
    from agentsd.sops.editor import lend_plaintext

    environ = make_sops(settings).environment_of_editor(document.data, os.environ, opened=True)
    with lend_plaintext(file.name, text, environ) as plain:
        while True:
            _call_editor(plain, environ)
            edited = plain.read_bytes().decode(errors="surrogateescape")
            if edited == text:
                return False
            try:
                after = _seal_edit(settings, file, document, edited)
            except InvalidManifests as error:
                if not _ask_again(error):
                    raise SopsFailed(
                        "sops did not save the edit: it is not valid YAML", hint="nothing was changed"
                    ) from None
                continue
            except (AgentsdError, UnicodeError):
                after = _edit_sealed_copy(settings, file, document.data, shlex.join(["cp", str(plain)]))
            if _finish_edit(settings, file, relative, document.data, after):
                return True


def _seal_edit(settings: Settings, file: Path, document: Document, edited: str) -> bytes:
    from agentsd.control.sealing.text_edit import seal_text

    opener, sops = make_opener(settings), make_sops(settings)
    return asyncio.run(seal_text(document, edited, file=file, opener=opener, sops=sops))


def _edit_by_sops(settings: Settings, file: Path, relative: str, before: bytes) -> bool:
    """Edit a manifest that only sops can open, in its form."""
    after = before
    while True:
        after = _edit_sealed_copy(settings, file, after, _choose_editor())
        if after == before:
            return False
        if _finish_edit(settings, file, relative, before, after):
            return True


def _edit_sealed_copy(settings: Settings, file: Path, data: bytes, editor: str) -> bytes:
    """Return what sops makes of ``data`` with ``editor``, by a hidden, still sealed copy beside the file."""
    from agentsd.sops.editor import edit_in_place

    sops = make_sops(settings)
    environ = sops.environment_of_editor(data, os.environ, opened=_can_open(settings, data))
    with _lend_copy(file, data) as copy:
        edit_in_place(sops.executable, copy, editor, environ)
        return copy.read_bytes()


def _edit_plain(settings: Settings, file: Path, relative: str, before: bytes) -> bool:
    with _lend_copy(file, before) as copy:
        while True:
            _call_editor(copy, os.environ)
            after = copy.read_bytes()
            if after == before:
                return False
            if _finish_edit(settings, file, relative, before, after):
                return True


@contextmanager
def _lend_copy(file: Path, data: bytes) -> Iterator[Path]:
    copy = file.with_name(f".{file.name}.edit.{os.getpid()}.yaml")
    try:
        copy.write_bytes(data)
        copy.chmod(0o600)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _finish_edit(settings: Settings, file: Path, relative: str, before: bytes, after: bytes) -> bool:
    """Return True where a valid edit was written, False to edit again; else keep it, and raise."""
    try:
        asyncio.run(require_valid(settings, relative, after))
        compare_and_swap(file, before, after)
    except InvalidManifests as error:
        if _ask_again(error):
            return False
        _keep_edit(file, after)
        raise
    except FileChanged:
        _keep_edit(file, after)
        message = f"{file} was changed by another process meanwhile"
        raise ConfigError(message, hint="it was not overwritten: edit again") from None
    except BaseException:
        _keep_edit(file, after)
        raise
    return True


def _keep_edit(file: Path, data: bytes) -> None:
    """Write an edit that was not accepted beside its file, and print where it is."""
    for number in range(100):
        kept = file.with_name(f"{file.name}.edit{number or ''}")
        with suppress(FileExistsError), kept.open("xb") as opened:
            kept.chmod(0o600)
            opened.write(data)
            break
    else:
        return
    print_lines(
        get_stderr(), [(("yellow", "note: "), ("", f"your edit is kept in {kept}; {file} is unchanged"))]
    )


def _ask_again(error: InvalidManifests) -> bool:
    """Show what is wrong; return whether the user wants to edit again."""
    if not sys.stdin.isatty():
        return False
    show_violations(error.violations)
    return click.confirm("Edit again?", default=True, err=True)


def _choose_editor() -> str:
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def _call_editor(file: Path, environ: Mapping[str, str]) -> None:
    command = [*shlex.split(_choose_editor()), str(file)]
    code = subprocess.run(command, env=dict(environ), check=False).returncode
    if code:
        raise ConfigError(f"the editor exited with status {code}", hint="set EDITOR to a working editor")


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
