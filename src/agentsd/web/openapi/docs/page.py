"""Page ``/docs``: the descriptions as HTML. It has no script and loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from agentsd import __version__
from agentsd.web.openapi.docs.curl import make_curl_command
from agentsd.web.openapi.docs.html import render_prose, render_table
from agentsd.web.openapi.docs.schema_text import render_fields, render_schema
from agentsd.web.openapi.document import DESCRIPTION
from agentsd.web.openapi.errors import ERRORS, list_error_statuses
from agentsd.web.openapi.model import MediaType, Operation, Schema
from agentsd.web.openapi.operations import GROUP_DESCRIPTIONS, OPERATIONS

_ROLES_SHOWN = ("editor", "admin")
"""Roles that are shown: every token has at least viewer."""

PAGES_PATH = "/ui/agents"
"""First of the pages, where a reader of this one came from."""

BASE_PLACEHOLDER = "http://base.invalid"
"""Placeholder for the server's address, which may differ between requests."""


@cache
def load_stylesheet() -> str:
    """Return the page's stylesheet."""
    return files("agentsd.web.openapi").joinpath("style.css").read_text("utf-8")


def render_docs(schemas: Mapping[str, Schema], *, guarded: bool) -> str:
    """Render the whole page. ``guarded``: the examples send a token."""
    body = "\n".join(
        _render_group(name, text, schemas, guarded=guarded) for name, text in GROUP_DESCRIPTIONS.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<title>agentsd: HTTP API</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{load_stylesheet()}</style>\n</head>\n<body>\n{_render_nav()}\n<main>\n{_render_head(guarded=guarded)}\n{body}\n"
        f"{_render_schemas(schemas)}\n</main>\n</body>\n</html>\n"
    )


def _render_nav() -> str:
    parts = []
    for group in GROUP_DESCRIPTIONS:
        links = "".join(
            f'<li><a href="#{one.id}">{escape(one.summary)}</a></li>'
            for one in OPERATIONS
            if one.group == group
        )
        parts.append(f"<strong>{escape(group)}</strong><ul>{links}</ul>")
    back = f'<a class="back" href="{PAGES_PATH}">← Back to the pages</a>'
    return f'<nav aria-label="Operations">{back}{"".join(parts)}<a href="#schemas">Schemas</a></nav>'


def _render_head(*, guarded: bool) -> str:
    token = (
        "<p>The examples take a token from the variable <code>AGENTSD_TOKEN</code>.</p>" if guarded else ""
    )
    return (
        f'<h1>agentsd HTTP API</h1>\n<p class="soft">Version {escape(__version__)}, described for '
        f'programs in <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>\n'
        f"<p>{render_prose(DESCRIPTION)}</p>{token}"
    )


def _render_group(name: str, text: str, schemas: Mapping[str, Schema], *, guarded: bool) -> str:
    articles = "\n".join(
        _render_operation(one, schemas, guarded=guarded) for one in OPERATIONS if one.group == name
    )
    return f"<section>\n<h2>{escape(name)}</h2>\n<p>{render_prose(text)}</p>\n{articles}\n</section>"


def _render_operation(one: Operation, schemas: Mapping[str, Schema], *, guarded: bool) -> str:
    parts = [
        f'<article id="{one.id}">\n<h3>{escape(one.summary)}</h3>',
        f'<code class="call"><span class="method {one.method.lower()}">{one.method}</span> '
        f"{escape(one.path)}</code>",
        *([f"<p>{render_prose(one.description)}</p>"] if one.description else []),
        *([f'<p class="soft">Needs a token of the role {one.role}.</p>'] if one.role in _ROLES_SHOWN else []),
        f"<pre><code>{escape(make_curl_command(one, BASE_PLACEHOLDER, guarded=guarded))}</code></pre>",
        *_render_request(one, schemas),
        *_render_replies(one, schemas),
        "</article>",
    ]
    return "\n".join(parts)


def _render_request(one: Operation, schemas: Mapping[str, Schema]) -> Iterator[str]:
    if one.parameters:
        said = [
            (
                f"<code>{escape(each.name)}</code>",
                f'<span class="soft">{each.where}</span>',
                _render_parameter(each.description, each.schema),
            )
            for each in one.parameters
        ]
        yield f"<h4>Parameters</h4>{render_table(said)}"
    if one.body:
        yield f"<h4>Body</h4>{_render_forms(one.body.forms, schemas)}"


def _render_parameter(description: str, schema: Schema) -> str:
    return f'{render_prose(description)} <span class="soft">{render_schema(schema)}</span>'


def _render_forms(forms: Iterable[MediaType], schemas: Mapping[str, Schema]) -> str:
    return "".join(_render_form(form, schemas) for form in forms)


def _render_form(form: MediaType, schemas: Mapping[str, Schema]) -> str:
    kind = f"<code>{escape(form.kind)}</code>"
    table = render_fields(form.schema, schemas) if form.schema else ""
    if not table:
        return f"<div>{kind}{f': {render_schema(form.schema)}' if form.schema else ''}</div>"
    return f"<details><summary>{kind}: {render_schema(form.schema or {})}</summary>{table}</details>"


def _render_replies(one: Operation, schemas: Mapping[str, Schema]) -> Iterator[str]:
    said = [
        (
            f"<code>{reply.status}</code>",
            render_prose(reply.description)
            + _render_headers(reply.headers)
            + _render_forms(reply.forms, schemas),
        )
        for reply in one.replies
    ]
    yield f"<h4>Replies</h4>{render_table(said)}"
    known = {reply.status for reply in one.replies}
    errors = [status for status in list_error_statuses(one) if status not in known]
    failed = [
        (
            f"<code>{status}</code>",
            render_prose(ERRORS[status].meaning),
            _render_codes(ERRORS[status].codes_of(openai=one.is_openai)),
        )
        for status in errors
    ]
    told = ", ".join(str(status) for status in errors)
    yield f"<details><summary>Errors: {told}</summary>{render_table(failed)}</details>"


def _render_headers(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f' <span class="soft">Headers: {", ".join(f"<code>{name}</code>" for name in names)}.</span>'


def _render_codes(codes: tuple[str, ...]) -> str:
    return " ".join(f"<code>{code}</code>" for code in codes)


def _render_schemas(schemas: Mapping[str, Schema]) -> str:
    folded = "\n".join(
        f'<details id="schema-{escape(name)}"><summary>{escape(name)}</summary>'
        f"<pre><code>{escape(_render_json(schema))}</code></pre></details>"
        for name, schema in schemas.items()
    )
    return (
        f'<section id="schemas">\n<h2>Schemas</h2>\n<p>JSON Schema, draft 2020-12.</p>\n{folded}\n</section>'
    )


def _render_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
