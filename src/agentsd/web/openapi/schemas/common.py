"""Schemas of shared components, made from the models of the code wherever there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.checks import Check
from agentsd.runtime.agents.snapshot import Condition
from agentsd.services.checks import Result
from agentsd.services.probe import Finding
from agentsd.services.verdict import Verdict
from agentsd.store.leader_election import Leader
from agentsd.store.queries.pulls import Pull
from agentsd.store.queries.replicas import Replica
from agentsd.store.queries.runs import ManifestCondition, Run
from agentsd.web.openapi.model import Schema, ref

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
HEX: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ANYTHING: Schema = {"type": "object"}


def thing(about: str, /, *more: Schema, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    """Return an object schema that requires all of ``fields`` and ``more``, except the optional ones."""
    properties = fields | {name: field for part in more for name, field in part.items()}
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": about, "required": required, "properties": properties}


def listed(schema: Schema, **limits: Any) -> Schema:
    """Return the schema of a list of such values."""
    return {"type": "array", "items": schema, **limits}


def nullable(schema: Schema) -> Schema:
    """Return the schema of the same value, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def told(kind: Any, *, optional: tuple[str, ...] = (), **changed: Schema) -> Schema:
    """Return the schema of a dataclass in responses: every field is present, except the optional ones."""
    template = "#/components/schemas/{model}"
    made = TypeAdapter(kind).json_schema(mode="serialization", ref_template=template)
    schema: Schema = untitled({key: value for key, value in made.items() if key != "$defs"})
    schema["properties"] = _without_defaults(schema["properties"]) | changed
    schema["required"] = [name for name in schema["properties"] if name not in optional]
    return schema


def untitled(node: Any) -> Any:
    """Remove the titles that pydantic makes from fields' names."""
    if isinstance(node, list):
        return [untitled(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: untitled(field) for name, field in child.items()}
        if key in ("properties", "$defs")
        else untitled(child)
        for key, child in node.items()
        if key != "title" or not isinstance(child, str)
    }


def _without_defaults(properties: Mapping[str, Schema]) -> Schema:
    """Remove defaults: a response leaves nothing out, so no default applies."""
    return {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in properties.items()
    }


def common() -> dict[str, Schema]:
    """Return the schemas that belong to no single resource."""
    return {
        "Problem": _problem(),
        "InvalidManifest": {
            "allOf": [ref("Problem")],
            "description": "Rules that the agent would break.",
            "properties": {"violations": listed(ref("Violation"))},
        },
        "Violation": thing(
            "One broken rule, and what to do about it.",
            dict.fromkeys(("path", "code", "message", "hint"), TEXT),
            line=COUNT,
            column=COUNT,
            pointer={"type": "string", "description": "The field, as the manifest calls it."},
        ),
        "OpenAIError": thing(
            "An error in OpenAI's shape.",
            error=thing("What is wrong.", message=TEXT, type=TEXT, param=nullable(TEXT), code=nullable(TEXT)),
        ),
        "Condition": told(Condition, since=nullable(TIME)),
        "Check": untitled(Check.model_json_schema()),
    }


def _problem() -> Schema:
    code = {"type": "string", "description": "Stable, for programs."}
    return thing(
        "An error (RFC 9457).",
        optional=("hint", "param", "file", "reason"),
        type={"type": "string", "description": "`code` as a URI."},
        title=TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        code=code,
        detail={"type": "string", "description": "What is wrong."},
        hint={"type": "string", "description": "What to do."},
        param={"type": "string", "description": "The field that is to blame."},
        file={"type": "string", "description": "The manifest that it is about."},
        reason={"type": "string", "description": "The machine reason of the agent's condition."},
    )


def reports() -> dict[str, Schema]:
    """Return the schemas of the service's own state."""
    said = {
        "version": COUNT,
        "age_seconds": nullable({"type": "number", "minimum": 0}),
        "from_disk": FLAG,
        "store": {"type": "string", "enum": ["ok", "read-only", "away"]},
        "failing_tasks": {"type": "array", "items": {"type": "string"}},
        "agents": COUNT,
        "degraded": COUNT,
    }
    problem = thing("An agent that fares badly.", told(Condition)["properties"], slug=TEXT)
    return {
        "Run": told(Run),
        "ManifestCondition": told(ManifestCondition),
        "Replica": told(Replica),
        "Leader": told(Leader),
        "Pull": told(Pull, url=nullable(TEXT)),
        "Pulling": thing("What was set off.", pulling={"const": True}),
        "Session": thing(
            "Who asks. `guarded`: whether a token is needed at all. `write_back`: what the API may write.",
            user=TEXT,
            name=TEXT,
            role={"type": "string", "enum": ["viewer", "editor", "admin"]},
            expires=nullable({"type": "number"}),
            guarded=FLAG,
            write_back={"type": "string", "enum": ["off", "files", "git"]},
            files=TEXT,
            version=TEXT,
        ),
        "SignedOut": thing("The browser forgets the token.", signed_in={"const": False}),
        "Alive": thing("The process answers.", status={"const": "ok"}),
        "Readiness": thing(
            "Whether there are agents to serve. `age_seconds`: since Postgres last answered. "
            "`from_disk`: what is served comes from an earlier run's file, as old as that. "
            "`failing_tasks`: background tasks that were restarted and have not run steadily since.",
            said,
            status={"type": "string", "enum": ["ready", "loading", "stopping"]},
        ),
        "Sync": thing(
            "How files, store and replicas stand. What Postgres knows is null while it is away.",
            said,
            stamp=nullable(UUID),
            replica={**UUID, "description": "Which of `replicas` answers."},
            loaded_at=nullable(TIME),
            store_problem=nullable(TEXT),
            problems=listed(problem),
            runs=nullable(listed(ref("Run"))),
            conditions=nullable(listed(ref("ManifestCondition"))),
            condition_counts=nullable({"type": "object", "additionalProperties": COUNT}),
            replicas=nullable(listed(ref("Replica"))),
            leaders=nullable(listed(ref("Leader"))),
            pulls=nullable(listed(ref("Pull"))),
        ),
        "Finding": told(Finding),
        "Result": told(Result, ok=FLAG),
        "Verdict": told(Verdict, optional=("problem", "fix"), ok=FLAG),
        "Providers": thing(
            "Each kind's vendors by name.",
            {kind: {"type": "object", "additionalProperties": ref("Vendor")} for kind in SECTIONS},
        ),
        "Vendor": thing(
            "A vendor's settings.",
            schema={"type": "object", "description": "A JSON Schema."},
            secrets={**listed(TEXT), "description": "The fields that are sealed."},
        ),
    }
