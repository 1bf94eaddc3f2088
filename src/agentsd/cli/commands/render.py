"""``agentsd render``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentsd.cli.commands.author import ENV_OPTION, PATH_OPTION
from agentsd.cli.compose.factories import load_settings, make_catalog
from agentsd.cli.output import get_stdout, print_json, print_lines, show_violations
from agentsd.core.errors import InvalidManifests
from agentsd.core.names import slug_from_url
from agentsd.core.text.render import prefix_path
from agentsd.core.violations import format_pointer
from agentsd.files.tree import read_tree_at_rest

if TYPE_CHECKING:
    from agentsd.control.status.render import RenderedManifest
    from agentsd.core.manifest.value_origins import ValueOrigin
    from agentsd.core.text.render import Line


@click.command("render")
@click.argument("agent")
@PATH_OPTION
@ENV_OPTION
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_context
def render_command(context: click.Context, agent: str, path: Path | None, env: str | None, form: str) -> None:
    """Show an agent merged with its layers, and where each value comes from.

    Secrets are masked. Needs no key and no database. AGENT is a slug.

    \b
    Examples:
      agentsd render acme/sales
      agentsd render acme/sales --env prod
      agentsd render support --format json
    """
    from agentsd.control.status.render import render_agent

    settings = load_settings(path=path, env=env)
    prefix = f"{settings.path.as_posix().rstrip('/')}/"
    try:
        rendered = render_agent(
            read_tree_at_rest(settings.path, env=settings.env), slug_from_url(agent), make_catalog()
        )
    except InvalidManifests as error:
        show_violations(error.violations, prefix)
        context.exit(1)
    if form == "json":
        print_json(_make_view(rendered, prefix))
    else:
        print_lines(get_stdout(), _format_lines(rendered, prefix))


def _format_lines(rendered: RenderedManifest, prefix: str) -> Iterator[Line]:
    places = {one.pointer: _format_origin(one, prefix) for one in rendered.origins()}
    for text, pointer in rendered.lines():
        if pointer is None:
            yield (("", text),)
        else:
            yield (("", text), ("cyan", f"  # {places[pointer]}"))


def _make_view(rendered: RenderedManifest, prefix: str) -> dict[str, object]:
    return {
        "agent": rendered.slug,
        "layers": [prefix_path(prefix, path) for path in rendered.layers],
        "value": rendered.value,
        "origins": {format_pointer(one.pointer): _format_origin(one, prefix) for one in rendered.origins()},
    }


def _format_origin(one: ValueOrigin, prefix: str) -> str:
    return f"{prefix_path(prefix, one.path)}:{one.line}"
