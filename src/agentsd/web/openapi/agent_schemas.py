"""The schemas of agents: what is sent, from the manifest's own schema, and what is told."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from agentsd.control.schemas import Schemas, without_null
from agentsd.core.agent import SECTIONS
from agentsd.core.edit import FIELDS, IDENTITY, READ_ONLY
from agentsd.core.sections import FALLBACK
from agentsd.web.openapi.model import Schema, ref
from agentsd.web.openapi.schemas import (
    ANYTHING,
    COUNT,
    FLAG,
    HEX,
    TEXT,
    TIME,
    UUID,
    listed,
    nullable,
    thing,
    untitled,
)

_SECRETS = "A secret that is left out or masked stays as it is, for the same provider and origin."
SLUG: Schema = {
    "type": "string",
    "maxLength": 200,
    "pattern": r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?(/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?)*$",
    "description": "The file's path without suffix; its first folder is the owner. Absent: made of the name.",
    "examples": ["acme/sales"],
}
_CONFIG: Schema = {
    "type": "object",
    "description": "The section as the manifest has it, secrets masked; `{}` where there is none.",
    "properties": {"provider": TEXT},
}
_ABSENT: Schema = {"type": "object", "maxProperties": 0, "description": "No such section."}
_MODES: Schema = {"type": "string", "enum": ["files", "git"]}


def config_of(kind: str) -> str:
    """``llm`` → ``llm_provider_config``."""
    return f"{kind}_provider_config"


def agents(schemas: Schemas) -> dict[str, Schema]:
    """Everything about agents."""
    return {**_vendors(schemas), **_sent(schemas), **_told()}


# What is sent


def _sent(schemas: Schemas) -> dict[str, Schema]:
    head = untitled(schemas.opened_head())
    shared = {name: _plain(schema) for name, schema in head.get("$defs", {}).items() if name != "Check"}
    sections: Schema = {
        "rag_config": {"anyOf": [ref("Rag"), _ABSENT], "description": "Knowledge as code."},
        **{config_of(kind): _section(kind) for kind in SECTIONS},
    }
    plain = {api: _plain(head["properties"][name]) for api, name in FIELDS.items() if api not in sections}
    first = ("name", "description", "system_prompt", "system_prompt_file")
    fields = {name: plain[name] for name in first} | sections | plain
    whole = {name: _or_null(schema) for name, schema in fields.items()}
    rollback = _fields("Which version to restore.", {"version": {"type": "integer", "minimum": 1}})
    return {
        **shared,
        "NewAgent": _fields("A new agent.", {"slug": SLUG, **whole, **_kept("slug")}),
        "AgentInput": _fields(f"All of an agent: what is left out goes. {_SECRETS}", {**whole, **_kept()}),
        "AgentPatch": _fields(
            f"A merge patch (RFC 7396): null removes. {_SECRETS}", {**whole, **_parts(), **_kept()}
        ),
        "Rollback": {**rollback, "required": ["version"]},
    }


def _section(kind: str) -> Schema:
    said = "The provider and its settings; `{}` for none."
    return {"anyOf": [ref(f"{kind}-provider"), _ABSENT], "description": said}


def _fields(description: str, properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _kept(*named: str) -> Schema:
    """What replies give beyond that: taken, so that a reply can be sent back, but not to be changed."""
    identity = {
        name: {"type": "string", "description": "The agent's own, where it is given."}
        for name in IDENTITY
        if name not in named
    }
    return identity | {
        name: {"readOnly": True, "description": "Taken and not used."} for name in sorted(READ_ONLY)
    }


def _parts() -> Schema:
    """Sections are merged, so they may be sent in part."""
    names = (*map(config_of, SECTIONS), "rag_config", "turn")
    return {name: {"type": ["object", "null"], "description": "Merged into the section."} for name in names}


def _or_null(schema: Schema) -> Schema:
    notes: Schema = {key: schema[key] for key in ("description", "examples") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in ("default", *notes)}
    return {**nullable(rest), **notes}


def _vendors(schemas: Schemas) -> dict[str, Schema]:
    """``llm-groq.com`` and the like, and ``llm-provider``: any of its kind."""
    made: dict[str, Schema] = {}
    for kind in SECTIONS:
        names = {}
        for name, schema in schemas.opened(kind).items():
            names[name] = f"{kind}-{name}"
            opened = _plain(untitled(schema))
            opened["properties"][FALLBACK] = listed(
                ref(f"{kind}-provider"), maxItems=4, description="Who takes over, in order."
            )
            made[names[name]] = opened
        mapping = {name: f"#/components/schemas/{key}" for name, key in names.items()}
        made[f"{kind}-provider"] = {
            "oneOf": [ref(key) for key in names.values()],
            "discriminator": {"propertyName": "provider", "mapping": mapping},
        }
    return made


def _plain(node: Any) -> Any:
    """A schema without null for what may be left out, without our marks, and without sealed examples."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = without_null({key: value for key, value in node.items() if key not in ("x-plain", "x-url")})
    if node.get("writeOnly"):
        node.pop("examples", None)
    if node.get("$ref", "").startswith("#/$defs/"):
        node = {**node, "$ref": node["$ref"].replace("#/$defs/", "#/components/schemas/")}
    return {
        key: {name: _plain(child) for name, child in value.items()} if key == "properties" else _plain(value)
        for key, value in deepcopy(node).items()
    }


# What is told


def _told() -> dict[str, Schema]:
    agent = _agent()
    page: Schema = {
        "items": listed({"anyOf": [ref("Agent"), ref("AgentSummary")]}),
        "total": COUNT,
        "next_cursor": nullable(TEXT),
        "version": COUNT,
    }
    revision = {
        "version": COUNT,
        "operation": TEXT,
        "slug": TEXT,
        "user": TEXT,
        "source": TEXT,
        "path": TEXT,
        "digest": HEX,
        "commit": nullable(TEXT),
        "run_id": nullable(UUID),
        "created_at": TIME,
        **_document(),
    }
    past = thing("One historic state; `changes` where `diff` asks for them, null for its first.", revision)
    field_change = thing(
        "A field that differs: with `old` and `new`, or `secret`, or the `lines` of a text's diff.",
        operation={"enum": ["add", "change", "remove"]},
        field=TEXT,
        old={},
        new={},
        secret={"enum": ["changed", "resealed"], "description": "`resealed`: a new ciphertext."},
        lines=listed(TEXT),
    )
    return {
        "Agent": agent,
        "AgentSummary": _summary(agent),
        "AgentPage": thing("A page of the list; `total` is of the whole.", page),
        "WrittenAgent": {**agent, "properties": {**agent["properties"], "write_back": ref("WriteBack")}},
        "WriteBack": thing(
            "What became of the edit.",
            mode=_MODES,
            path=nullable(TEXT),
            commit=nullable(TEXT),
            branch=nullable(TEXT),
            pushed=nullable(FLAG),
            message={"type": "string", "description": "What falls short of it being live everywhere."},
        ),
        "Written": thing(
            "The edit of an agent that is not served: it is gone, or the edit waits on a branch.",
            id=UUID,
            slug=TEXT,
            deleted=FLAG,
            version=nullable(COUNT),
            write_back=ref("WriteBack"),
        ),
        "Revision": {
            **past,
            "properties": {**past["properties"], "changes": nullable(listed(ref("FieldChange")))},
        },
        "FieldChange": {**field_change, "required": ["operation", "field"]},
        "RevisionPage": thing(
            "Newest first; `next_before` leads on.",
            items=listed(ref("Revision")),
            next_before=nullable(COUNT),
        ),
    }


def _agent() -> Schema:
    return thing(
        "An agent. Secrets are always `**********`.",
        _document(),
        id=UUID,
        user={"type": "string", "description": "The owner."},
        slug=TEXT,
        name=TEXT,
        is_default={"type": "boolean", "description": "Answers when no agent is named."},
        is_active={"type": "boolean", "description": "Suspended where false."},
        digest={
            **TEXT,
            "pattern": "^([0-9a-f]{64})?$",
            "description": "SHA-256 over what makes it; empty if built in.",
        },
        version={**COUNT, "description": "The version that last touched it."},
        source={"type": "string", "description": "The tree that it came from."},
        path=nullable(TEXT),
        commit=nullable(TEXT),
        created_at=nullable(TIME),
        updated_at=nullable(TIME),
        condition=ref("Condition"),
        serving_version={**nullable(COUNT), "description": "The version that answers; null where none can."},
    )


def _summary(agent: Schema) -> Schema:
    names = (
        "id",
        "user",
        "slug",
        "name",
        "description",
        "is_default",
        "is_active",
        "version",
        "serving_version",
    )
    more = ("commit", "path", "source", "updated_at", "condition")
    vendors: Schema = {"type": "object", "properties": dict.fromkeys(SECTIONS, TEXT)}
    return thing(
        "An agent as `view=summary` lists it.",
        {name: agent["properties"][name] for name in (*names, *more)},
        providers={**vendors, "description": "The vendors of the sections that it has."},
    )


def _document() -> Schema:
    """What the manifest says; empty where it says nothing."""
    texts = dict.fromkeys(("description", "system_prompt", "greeting"), TEXT)
    optional = dict.fromkeys(("system_prompt_file", "language"), nullable(TEXT))
    configs = {config_of(kind): _CONFIG for kind in SECTIONS}
    others: Schema = {"rag_config": ANYTHING, "turn": ANYTHING, "checks": listed(ANYTHING)}
    return {**texts, **optional, **configs, **others}
