"""Schemas of agents in requests, from the manifest's own schema."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from agentsd.control.validation.schema import ManifestSchemas, strip_null
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.edit import API_FIELDS, IDENTITY_FIELDS, READ_ONLY_FIELDS
from agentsd.core.manifest.sections import FALLBACK
from agentsd.web.openapi.model import Schema, refer_to_schema
from agentsd.web.openapi.schemas.models import tidy_schema

_SECRETS = "A secret that is left out or masked stays as it is, for the same provider and origin."
SLUG: Schema = {
    "type": "string",
    "maxLength": 200,
    "pattern": r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?(/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?)*$",
    "description": "The file's path without suffix; its first folder is the owner. Default: from the name.",
    "examples": ["acme/sales"],
}
_ABSENT: Schema = {"type": "object", "maxProperties": 0, "description": "The section is absent."}


def make_request_schemas(schemas: ManifestSchemas) -> dict[str, Schema]:
    """Return the schemas of agents in requests."""
    return {**_make_vendor_schemas(schemas), **_make_sent_schemas(schemas)}


def _make_sent_schemas(schemas: ManifestSchemas) -> dict[str, Schema]:
    head = tidy_schema(schemas.opened_head())
    shared = {name: _simplify_schema(schema) for name, schema in head.get("$defs", {}).items()}
    sections: Schema = {
        "rag_config": {"anyOf": [refer_to_schema("Rag"), _ABSENT], "description": "Knowledge as code."},
        **{f"{kind}_provider_config": _make_section(kind) for kind in SECTIONS},
    }
    plain = {
        api: _simplify_schema(head["properties"][name])
        for api, name in API_FIELDS.items()
        if api not in sections
    }
    first = ("name", "description", "system_prompt", "system_prompt_file")
    fields = {name: plain[name] for name in first} | sections | plain
    whole = {name: _allow_null(schema) for name, schema in fields.items()}
    return {
        **shared,
        "NewAgent": _make_fields("A new agent.", {"slug": SLUG, **whole, **_make_read_only("slug")}),
        "AgentInput": _make_fields(
            f"A whole agent: what is left out is removed. {_SECRETS}", {**whole, **_make_read_only()}
        ),
        "AgentPatch": _make_fields(
            f"A merge patch (RFC 7396): null removes. {_SECRETS}",
            {**whole, **_make_partial_sections(), **_make_read_only()},
        ),
    }


def _make_section(kind: str) -> Schema:
    said = "The provider and its settings; `{}` for none."
    return {"anyOf": [refer_to_schema(f"{kind}-provider"), _ABSENT], "description": said}


def _make_fields(description: str, properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _make_read_only(*named: str) -> Schema:
    """Return the read-only fields of responses, accepted so that a response can be sent back unchanged."""
    identity = {
        name: {"type": "string", "description": "Must be the agent's own, if present."}
        for name in IDENTITY_FIELDS
        if name not in named
    }
    return identity | {
        name: {"readOnly": True, "description": "Accepted and ignored."} for name in sorted(READ_ONLY_FIELDS)
    }


def _make_partial_sections() -> Schema:
    """Return schemas of partial sections: sections are merged, so they may be sent in part."""
    names = (*(f"{kind}_provider_config" for kind in SECTIONS), "rag_config", "turn", "on_error", "variables")
    return {name: {"type": ["object", "null"], "description": "Merged into the section."} for name in names}


def _allow_null(schema: Schema) -> Schema:
    notes: Schema = {key: schema[key] for key in ("description", "examples") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in ("default", *notes)}
    if isinstance(rest.get("type"), str) and "enum" not in rest:
        return {**rest, "type": [rest["type"], "null"], **notes}
    return {"anyOf": [rest, {"type": "null"}], **notes}


def _make_vendor_schemas(schemas: ManifestSchemas) -> dict[str, Schema]:
    """Return schemas such as ``llm-groq.com``, and ``llm-provider`` for any vendor of the kind."""
    made: dict[str, Schema] = {}
    for kind in SECTIONS:
        names = {}
        for name, schema in schemas.opened(kind).items():
            names[name] = f"{kind}-{name}"
            opened = _simplify_schema(tidy_schema(schema))
            opened["properties"][FALLBACK] = {
                "type": "array",
                "items": refer_to_schema(f"{kind}-provider"),
                "maxItems": 4,
                "description": "Fallbacks, in order.",
            }
            made[names[name]] = opened
        mapping = {name: f"#/components/schemas/{key}" for name, key in names.items()}
        made[f"{kind}-provider"] = {
            "oneOf": [refer_to_schema(key) for key in names.values()],
            "discriminator": {"propertyName": "provider", "mapping": mapping},
        }
    return made


def _simplify_schema(node: Any) -> Any:
    """Return a schema without null for optional fields, without our marks, and without sealed examples."""
    if isinstance(node, list):
        return [_simplify_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = strip_null({key: value for key, value in node.items() if key not in ("x-plain", "x-url")})
    if node.get("writeOnly"):
        node.pop("examples", None)
    if node.get("$ref", "").startswith("#/$defs/"):
        node = {**node, "$ref": node["$ref"].replace("#/$defs/", "#/components/schemas/")}
    return {
        key: {name: _simplify_schema(child) for name, child in value.items()}
        if key == "properties"
        else _simplify_schema(value)
        for key, value in deepcopy(node).items()
    }
