"""``agentsd new``, ``edit`` and ``seal``: manifests made and changed by hand."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from agentsd.cli.compose import load_settings, make_checker, make_sops
from agentsd.cli.output import print_lines, show_violations, stderr
from agentsd.core.document import parse
from agentsd.core.errors import ConfigError, InvalidManifests
from agentsd.core.names import SUFFIXES, from_url, slug_problem, suggest_slug
from agentsd.core.violations import errors_of
from agentsd.files.tree import SourceFile, replace_file
from agentsd.settings import Settings

_PATH = click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d].")


@click.command("new")
@click.argument("slug")
@_PATH
@click.option("--name", help="Display name.")
@click.option(
    "--llm", help="Provider of the language model, such as groq.com [echo.local].", default="echo.local"
)
@click.option("--tts", help="Provider of the voice.")
@click.option("--stt", help="Provider of the transcription.")
@click.option(
    "--set", "values", multiple=True, metavar="SECTION.FIELD=VALUE", help="A plain field; repeatable."
)
def new_command(
    slug: str,
    path: Path | None,
    name: str | None,
    llm: str,
    tts: str | None,
    stt: str | None,
    values: tuple[str, ...],
) -> None:
    """Add an agent: a manifest with a pinned id, its secrets asked for and sealed at once.

    Secrets are never options: they are asked for on a terminal, or read from standard input,
    a line each, in the order that they are named.

    \b
    Examples:
      agentsd new greeter
      agentsd new acme/sales --llm groq.com --set llm.model=llama-3.1-8b-instant
      pass show groq | agentsd new support --llm groq.com --set llm.model=llama-3.1-8b-instant
    """
    settings = load_settings(path=path)
    target = _new_file(settings.path, from_url(slug))
    sections = {"llm": llm, "tts": tts, "stt": stt}
    text, has_secrets = _draft(name or slug.rpartition("/")[2].capitalize(), sections, _pairs(values))
    asyncio.run(_write_new(settings, target, text.encode(), sealed=has_secrets))
    print_lines(
        stderr(), [(("green", "✓ "), ("", f"wrote {target}"), ("dim", "; commit it, or let `up` pick it up"))]
    )


def _new_file(root: Path, slug: str) -> Path:
    problem = slug_problem(slug)
    if problem:
        raise ConfigError(f"{slug!r}: {problem}", hint=f"for example: {suggest_slug(slug)}")
    for suffix in SUFFIXES:
        taken = root / f"{slug}{suffix}"
        if taken.exists():
            raise ConfigError(f"{taken} exists", hint=f"to change it: agentsd edit {slug}")
    return root / f"{slug}.yaml"


def _pairs(values: tuple[str, ...]) -> dict[tuple[str, str], str]:
    pairs = {}
    for item in values:
        key, equals, value = item.partition("=")
        section, dot, field = key.partition(".")
        if not (equals and dot):
            raise ConfigError(
                f"--set {item!r} is not SECTION.FIELD=VALUE", hint="for example: --set llm.model=NAME"
            )
        pairs[section, field] = value
    return pairs


def _draft(name: str, sections: dict[str, str | None], pairs: dict[tuple[str, str], str]) -> tuple[str, bool]:
    """(text, whether it holds plain secrets that must be sealed before anything is written)."""
    import yaml

    from agentsd.providers.catalog import default_catalog

    catalog = default_catalog()
    value: dict[str, Any] = {
        "id": str(uuid4()),
        "name": name,
        "system_prompt": "You are a helpful assistant.\n",
    }
    has_secrets = False
    for kind, provider in sections.items():
        if provider:
            settings = catalog.vendor(kind, provider).settings
            given = {
                field: yaml.safe_load(text) for (section, field), text in pairs.items() if section == kind
            }
            secrets = {field: _ask(kind, field) for field in _required_secrets(settings)}
            has_secrets = has_secrets or bool(secrets)
            value[kind] = {"provider": provider, **secrets, **_examples(settings, given), **given}
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True), has_secrets


def _required_secrets(settings: Any) -> list[str]:
    return [
        name
        for name, field in settings.model_fields.items()
        if name in settings.secret_fields() and field.is_required()
    ]


def _examples(settings: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Required plain fields that were not given take the example of the schema, to be changed later."""
    return {
        name: field.examples[0]
        for name, field in settings.model_fields.items()
        if field.is_required()
        and name != "provider"
        and name not in given
        and name not in settings.secret_fields()
        and field.examples
    }


def _ask(kind: str, field: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"{kind}.{field}", hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise ConfigError(
            f"{kind}.{field} is a secret and was not given", hint="pipe it in: one secret a line"
        )
    return line


async def _write_new(settings: Settings, target: Path, data: bytes, *, sealed: bool) -> None:
    from agentsd.control.sealing import seal

    relative = target.relative_to(settings.path).as_posix()
    if sealed:
        data = await seal(parse(relative, data), target, make_sops(settings))
    await _require_valid(settings, relative, data)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, data)


async def _require_valid(settings: Settings, relative: str, data: bytes) -> None:
    checker = make_checker(settings)
    checked = await checker.settle(
        checker.check(SourceFile(relative, (0, 0, 0, 0), sha256(data).digest(), data))
    )
    if errors_of(checked.violations):
        raise InvalidManifests(errors_of(checked.violations))


@click.command("seal")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_PATH
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
        print_lines(stderr(), [(("green", "✓ "), ("", f"sealed {file}"))])


async def _seal_file(settings: Settings, file: Path) -> None:
    from agentsd.control.sealing import seal

    relative = _relative(settings.path, file)
    data = await seal(parse(relative, file.read_bytes()), file, make_sops(settings))
    await _require_valid(settings, relative, data)
    replace_file(file, data)


def _relative(root: Path, file: Path) -> str:
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ConfigError(
            f"{file} is not in {root}", hint="name the folder of manifests with --path"
        ) from None


@click.command("edit")
@click.argument("agent")
@_PATH
def edit_command(agent: str, path: Path | None) -> None:
    """Open a sealed manifest in your editor ($VISUAL, $EDITOR), then validate it and seal it again.

    The plaintext is a file that only you can read, in memory where the system has such a place.
    Nothing is replaced before the result is valid. AGENT is a slug or a file.

    \b
    Examples:
      agentsd edit acme/sales
      EDITOR="code --wait" agentsd edit agents.d/support.yaml
    """
    settings = load_settings(path=path)
    file = _existing(settings.path, agent)
    changed = _edit(settings, file)
    what = f"updated {file}" if changed else f"{file} is unchanged"
    print_lines(stderr(), [(("green", "✓ "), ("", what))])


def _existing(root: Path, agent: str) -> Path:
    candidates = [Path(agent), *(root / f"{from_url(agent)}{suffix}" for suffix in SUFFIXES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"there is no manifest of {agent!r} in {root}", hint=f"to make one: agentsd new {agent}"
    )


def _edit(settings: Settings, file: Path) -> bool:
    """Edit a hidden, still sealed copy beside the file, until it is valid or given up."""
    relative = _relative(settings.path, file)
    before = file.read_bytes()
    copy = file.with_name(f".{file.name}.edit.{os.getpid()}.yaml")
    try:
        copy.write_bytes(before)
        copy.chmod(0o600)
        while True:
            _run_editor(settings, copy, sealed="sops" in parse(relative, before).value)
            after = copy.read_bytes()
            if after == before:
                return False
            if file.read_bytes() != before:
                raise ConfigError(
                    f"{file} was changed by someone else meanwhile", hint="nothing was written: edit again"
                )
            if _accept(settings, relative, after):
                replace_file(file, after)
                return True
    finally:
        copy.unlink(missing_ok=True)


def _accept(settings: Settings, relative: str, data: bytes) -> bool:
    """True: valid. False: to be edited again. Raises where nobody can be asked, or who is asked gives up."""
    try:
        asyncio.run(_require_valid(settings, relative, data))
    except InvalidManifests as error:
        if not sys.stdin.isatty():
            raise
        show_violations(error.violations, f"{settings.path}/")
        if click.confirm("Edit again?", default=True, err=True):
            return False
        raise
    return True


def _run_editor(settings: Settings, copy: Path, *, sealed: bool) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if not sealed:
        code = subprocess.run([*shlex.split(editor), str(copy)], check=False).returncode
        if code:
            raise ConfigError(f"the editor ended with status {code}", hint="set EDITOR to one that works")
        return
    from agentsd.sops.editor import edit_in_place

    edit_in_place(make_sops(settings).executable, copy, editor, os.environ)
