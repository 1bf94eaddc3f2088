"""Schemas as readable text: a line for a schema, a table for an object's fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from agentsd.web.openapi.docs.html import render_prose, render_table
from agentsd.web.openapi.model import Schema

_PREFIX = "#/components/schemas/"
_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "default": "default {}",
}
_NAMED_VALUES_MAX = 8
"""Maximum number of enumerated values that are listed."""


def render_schema(schema: Schema) -> str:
    """Return HTML such as ``integer, ≥ 1, ≤ 100, default 20``; a component is a link."""
    limits = [_render_limit(key, schema[key]) for key in _LIMITS if key in schema]
    secret = ["secret"] if _is_secret(schema) else []
    return ", ".join(text for text in (_render_kind(schema), *secret, *limits) if text)


def _render_limit(key: str, value: Any) -> str:
    if (key, value) == ("minLength", 1):
        return "not empty"
    return _LIMITS[key].format(escape(_render_value(value)))


def render_fields(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    """Return an HTML table of an object's fields; empty where the schema is not an object with fields."""
    found = resolve_reference(schema, schemas)
    properties = {name: one for name, one in found.get("properties", {}).items() if not _is_read_only(one)}
    required = properties.keys() & set(found.get("required", ()))
    marked, mark = required, "required"
    if len(required) > len(properties) / 2:  # mark the exception, not the rule
        marked, mark = properties.keys() - required, "optional"
    return render_table(
        _render_row(name, one, mark if name in marked else "") for name, one in properties.items()
    )


def resolve_reference(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """Return the target of a reference."""
    return schemas[schema["$ref"].removeprefix(_PREFIX)] if "$ref" in schema else schema


def _render_row(name: str, field: Schema, mark: str) -> tuple[str, str, str]:
    said = f' <span class="soft">{mark}</span>' if mark else ""
    return (
        f"<code>{escape(name)}</code>{said}",
        render_schema(field),
        render_prose(field.get("description", "")),
    )


def _is_read_only(field: Schema) -> bool:
    """Return whether a field may be sent back without effect, so that it needs no line."""
    return bool(field.get("readOnly"))


def _is_secret(schema: Schema) -> bool:
    return bool(schema.get("writeOnly"))


def _render_kind(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_PREFIX)
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "const" in schema:
        return f"<code>{escape(_render_value(schema['const']))}</code>"
    if "enum" in schema:
        return _render_values(schema["enum"])
    return _render_alternatives(schema) or _render_type(schema)


def _render_values(values: list[Any]) -> str:
    shown = [f"<code>{escape(_render_value(value))}</code>" for value in values[:_NAMED_VALUES_MAX]]
    return " or ".join([*shown, "…"] if len(values) > _NAMED_VALUES_MAX else shown)


def _render_alternatives(schema: Schema) -> str:
    choices = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if not _is_empty_schema(one)]
    return " or ".join(dict.fromkeys(_render_kind(one) for one in choices[:_NAMED_VALUES_MAX]))


def _is_empty_schema(schema: Schema) -> bool:
    return schema.get("maxProperties") == 0 or ("required" in schema and "type" not in schema)


def _render_type(schema: Schema) -> str:
    kinds = schema.get("type", "any")
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_render_qualified(name, schema) for name in names)


def _render_qualified(name: str, schema: Schema) -> str:
    if name == "array" and schema.get("items"):
        return f"list of {_render_kind(schema['items'])}"
    return {"array": "list", "string": str(schema.get("format", "string"))}.get(name, name)


def _render_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
