"""``agentsd new``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from agentsd.cli.commands.author import PATH_OPTION, require_valid
from agentsd.cli.compose.factories import load_settings, make_catalog, make_sops
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import parse_document
from agentsd.core.names import SUFFIXES, find_slug_problem, slug_from_url, suggest_slug
from agentsd.files.atomic.compare_and_swap import replace_file
from agentsd.settings import Settings

SCHEMA_PATH = "schemas/agent.schema.json"
"""Path of the schema in a repository of manifests, beside the folder of manifests."""


@click.command("new")
@click.argument("slug")
@PATH_OPTION
@click.option("--name", help="Display name.")
@click.option(
    "--llm", help="Provider of the language model, such as groq.com [echo.local].", default="echo.local"
)
@click.option("--tts", help="Provider of the voice.")
@click.option("--stt", help="Provider of the transcription.")
@click.option(
    "--set", "values", multiple=True, metavar="SECTION.FIELD=VALUE", help="Set a plain field; repeatable."
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
    """Add an agent: a manifest with a pinned id; its secrets are prompted for and sealed at once.

    Secrets are never options: they are prompted for on a terminal, or read from standard input,
    one per line, in the same order.

    \b
    Examples:
      agentsd new greeter
      agentsd new acme/sales --llm groq.com --set llm.model=llama-3.1-8b-instant
      pass show groq | agentsd new support --llm groq.com --set llm.model=llama-3.1-8b-instant
    """
    from agentsd.control.importers.new_manifest import make_manifest_text

    settings = load_settings(path=path)
    slug = slug_from_url(slug)
    target = choose_manifest_path(settings.path, slug)
    chosen = {"llm": llm, "tts": tts, "stt": stt}
    providers = {kind: vendor for kind, vendor in chosen.items() if vendor}
    title = name or slug.rpartition("/")[2].replace("-", " ").capitalize()
    text, has_secrets = make_manifest_text(
        make_catalog(), title, providers, _parse_pairs(values), _ask_secret
    )
    text = _make_schema_line(settings.path, slug) + text
    asyncio.run(_write_manifest(settings, target, text.encode(), sealed=has_secrets))
    print_lines(
        get_stderr(),
        [(("green", "✓ "), ("", f"wrote {target}"), ("dim", "; commit it, or let `up` pick it up"))],
    )


def choose_manifest_path(root: Path, slug: str) -> Path:
    """Return the path of a new agent's manifest.

    Raises ``ConfigError`` for a bad name and a taken one.
    """
    problem = find_slug_problem(slug)
    if problem:
        raise ConfigError(f"{slug!r}: {problem}", hint=f"for example: {suggest_slug(slug)}")
    for suffix in SUFFIXES:
        taken = root / f"{slug}{suffix}"
        if taken.exists():
            raise ConfigError(f"{taken} exists", hint=f"to change it: agentsd edit {slug}")
    return root / f"{slug}.yaml"


def _parse_pairs(values: tuple[str, ...]) -> dict[tuple[str, str], str]:
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


def _make_schema_line(root: Path, slug: str) -> str:
    """Return the line that lets an editor complete and explain the fields, if the schema is available."""
    if not (root.parent / SCHEMA_PATH).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (slug.count('/') + 1)}{SCHEMA_PATH}\n"


def _ask_secret(kind: str, field: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"{kind}.{field}", hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise ConfigError(
            f"{kind}.{field} is a secret and was not given", hint="pipe it in: one secret per line"
        )
    return line


async def _write_manifest(settings: Settings, target: Path, data: bytes, *, sealed: bool) -> None:
    from agentsd.control.sealing.seal import seal_document

    relative = target.relative_to(settings.path).as_posix()
    if sealed:
        data = await seal_document(parse_document(relative, data), target, make_sops(settings))
    await require_valid(settings, relative, data)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, data)
