"""``agentsd new``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from agentsd.cli.commands.author import PATH, require_valid
from agentsd.cli.compose.parts import load_settings, make_catalog, make_sops
from agentsd.cli.output import print_lines, stderr
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import parse
from agentsd.core.names import SUFFIXES, from_url, slug_problem, suggest_slug
from agentsd.files.atomic.compare_and_swap import replace_file
from agentsd.settings import Settings

SCHEMA = "schemas/agent.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""


@click.command("new")
@click.argument("slug")
@PATH
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
    from agentsd.control.importers.new_manifest import draft

    settings = load_settings(path=path)
    slug = from_url(slug)
    target = new_file(settings.path, slug)
    chosen = {"llm": llm, "tts": tts, "stt": stt}
    providers = {kind: vendor for kind, vendor in chosen.items() if vendor}
    title = name or slug.rpartition("/")[2].replace("-", " ").capitalize()
    text, has_secrets = draft(make_catalog(), title, providers, _pairs(values), _ask)
    text = _schema_line(settings.path, slug) + text
    asyncio.run(_write(settings, target, text.encode(), sealed=has_secrets))
    print_lines(
        stderr(), [(("green", "✓ "), ("", f"wrote {target}"), ("dim", "; commit it, or let `up` pick it up"))]
    )


def new_file(root: Path, slug: str) -> Path:
    """Return the path of a new agent's manifest.

    Raises ``ConfigError`` for a bad name and a taken one.
    """
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
                f"--set {key!r} is not SECTION.FIELD=VALUE", hint="for example: --set llm.model=NAME"
            )
        pairs[section, field] = value
    return pairs


def _schema_line(root: Path, slug: str) -> str:
    """Return the line that lets an editor complete and explain the fields, if the schema is available."""
    if not (root.parent / SCHEMA).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (slug.count('/') + 1)}{SCHEMA}\n"


def _ask(kind: str, field: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"{kind}.{field}", hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise ConfigError(
            f"{kind}.{field} is a secret and was not given", hint="pipe it in: one secret a line"
        )
    return line


async def _write(settings: Settings, target: Path, data: bytes, *, sealed: bool) -> None:
    from agentsd.control.sealing.seal import seal

    relative = target.relative_to(settings.path).as_posix()
    if sealed:
        data = await seal(parse(relative, data), target, make_sops(settings))
    await require_valid(settings, relative, data)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, data)
