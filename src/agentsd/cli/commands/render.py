"""``agentsd render``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentsd.cli.commands.author import ENV, PATH
from agentsd.cli.compose.parts import load_settings, make_catalog
from agentsd.cli.output import print_json, print_lines, show_violations, stdout
from agentsd.core.errors import InvalidManifests
from agentsd.core.names import from_url
from agentsd.core.text.render import placed
from agentsd.core.violations import dotted
from agentsd.files.tree import read_tree

if TYPE_CHECKING:
    from agentsd.control.status.render import Rendered
    from agentsd.core.manifest.value_origins import Origin
    from agentsd.core.text.render import Line


@click.command("render")
@click.argument("agent")
@PATH
@ENV
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_context
def render_command(context: click.Context, agent: str, path: Path | None, env: str | None, form: str) -> None:
    """Show what an agent and its layers say together, and where each value comes from.

    Secrets are masked. Needs no key and no database. AGENT is a slug.

    \b
    Examples:
      agentsd render acme/sales
      agentsd render acme/sales --env prod
      agentsd render support --format json
    """
    from agentsd.control.status.render import render

    settings = load_settings(path=path, env=env)
    prefix = f"{settings.path.as_posix().rstrip('/')}/"
    try:
        rendered = render(read_tree(settings.path, env=settings.env), from_url(agent), make_catalog())
    except InvalidManifests as error:
        show_violations(error.violations, prefix)
        context.exit(1)
    if form == "json":
        print_json(_view(rendered, prefix))
    else:
        print_lines(stdout(), _lines(rendered, prefix))


def _lines(rendered: Rendered, prefix: str) -> Iterator[Line]:
    places = {one.pointer: _place(one, prefix) for one in rendered.origins()}
    for text, pointer in rendered.lines():
        if pointer is None:
            yield (("", text),)
        else:
            yield (("", text), ("cyan", f"  # {places[pointer]}"))


def _view(rendered: Rendered, prefix: str) -> dict[str, object]:
    return {
        "agent": rendered.slug,
        "layers": [placed(prefix, path) for path in rendered.layers],
        "value": rendered.value,
        "origins": {dotted(one.pointer): _place(one, prefix) for one in rendered.origins()},
    }


def _place(one: Origin, prefix: str) -> str:
    return f"{placed(prefix, one.path)}:{one.line}"
