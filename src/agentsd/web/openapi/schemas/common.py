"""Schemas of shared components, made from the models of the code wherever there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.checks import Check
from agentsd.runtime.agents.snapshot import AgentCondition
from agentsd.services.checks import AgentCheckResult
from agentsd.services.probe import ProbeResult
from agentsd.services.verdict import AgentVerdict
from agentsd.store.leader_election import Leader
from agentsd.store.queries.pulls import PullState
from agentsd.store.queries.replicas import Replica
from agentsd.store.queries.runs import ManifestCondition, RunChange, SyncRun
from agentsd.web.openapi.model import Schema, refer_to_schema

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
HEX: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ANYTHING: Schema = {"type": "object"}


def make_object(about: str, /, *more: Schema, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    """Return an object schema that requires all of ``fields`` and ``more``, except the optional ones."""
    properties = fields | {name: field for part in more for name, field in part.items()}
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": about, "required": required, "properties": properties}


def make_list(schema: Schema, **limits: Any) -> Schema:
    """Return the schema of a list of such values."""
    return {"type": "array", "items": schema, **limits}


def make_nullable(schema: Schema) -> Schema:
    """Return the schema of the same value, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def make_dataclass_schema(kind: Any, *, optional: tuple[str, ...] = (), **changed: Schema) -> Schema:
    """Return the schema of a dataclass in responses: every field is present, except the optional ones."""
    template = "#/components/schemas/{model}"
    made = TypeAdapter(kind).json_schema(mode="serialization", ref_template=template)
    schema: Schema = drop_titles({key: value for key, value in made.items() if key != "$defs"})
    schema["properties"] = _drop_defaults(schema["properties"]) | changed
    schema["required"] = [name for name in schema["properties"] if name not in optional]
    return schema


def drop_titles(node: Any) -> Any:
    """Remove the titles that pydantic makes from fields' names."""
    if isinstance(node, list):
        return [drop_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: drop_titles(field) for name, field in child.items()}
        if key in ("properties", "$defs")
        else drop_titles(child)
        for key, child in node.items()
        if key != "title" or not isinstance(child, str)
    }


def _drop_defaults(properties: Mapping[str, Schema]) -> Schema:
    """Remove defaults: a response leaves nothing out, so no default applies."""
    return {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in properties.items()
    }


def make_common_schemas() -> dict[str, Schema]:
    """Return the schemas that belong to no single resource."""
    return {
        "Problem": _make_problem_schemas(),
        "InvalidManifest": {
            "allOf": [refer_to_schema("Problem")],
            "description": "Rules that the agent would break.",
            "properties": {"violations": make_list(refer_to_schema("Violation"))},
        },
        "Violation": make_object(
            "One violation, and its remedy.",
            dict.fromkeys(("path", "code", "message", "hint"), TEXT),
            line=COUNT,
            column=COUNT,
            pointer={"type": "string", "description": "The field's pointer in the manifest."},
        ),
        "OpenAIError": make_object(
            "An error in OpenAI's shape.",
            error=make_object(
                "What is wrong.", message=TEXT, type=TEXT, param=make_nullable(TEXT), code=make_nullable(TEXT)
            ),
        ),
        "Condition": make_dataclass_schema(AgentCondition, since=make_nullable(TIME)),
        "Check": drop_titles(Check.model_json_schema()),
    }


def _make_problem_schemas() -> Schema:
    code = {"type": "string", "description": "Stable, for programs."}
    return make_object(
        "An error (RFC 9457).",
        optional=("hint", "param", "file", "reason"),
        type={"type": "string", "description": "`code` as a URI."},
        title=TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        code=code,
        detail={"type": "string", "description": "What is wrong."},
        hint={"type": "string", "description": "What to do."},
        param={"type": "string", "description": "The invalid field."},
        file={"type": "string", "description": "The manifest concerned."},
        reason={"type": "string", "description": "The machine reason of the agent's condition."},
    )


def make_service_schemas() -> dict[str, Schema]:
    """Return the schemas of the service's own state."""
    said = {
        "version": COUNT,
        "age_seconds": make_nullable({"type": "number", "minimum": 0}),
        "from_disk": FLAG,
        "store": {"type": "string", "enum": ["ok", "read-only", "away"]},
        "failing_tasks": {"type": "array", "items": {"type": "string"}},
        "agents": COUNT,
        "degraded": COUNT,
    }
    problem = make_object(
        "An agent that is not Ready.", make_dataclass_schema(AgentCondition)["properties"], slug=TEXT
    )
    return {
        "Run": make_dataclass_schema(
            SyncRun,
            changes={
                **make_list(make_dataclass_schema(RunChange)),
                "description": "The first agents that it changed; `counts` has the number of all.",
            },
            actor={**make_nullable(TEXT), "description": "Who caused it by API or command."},
        ),
        "ManifestCondition": make_dataclass_schema(
            ManifestCondition,
            serving_version={
                **make_nullable(COUNT),
                "description": "The version that is served of its agent; null where there is none.",
            },
        ),
        "Replica": make_dataclass_schema(Replica),
        "Leader": make_dataclass_schema(Leader),
        "Pull": make_dataclass_schema(PullState, url=make_nullable(TEXT)),
        "Pulling": make_object("The result of a webhook call.", pulling={"const": True}),
        "Session": make_object(
            "The principal. `guarded`: whether a token is needed. `write_back`: what the API may write.",
            user=TEXT,
            name=TEXT,
            role={"type": "string", "enum": ["viewer", "editor", "admin"]},
            expires=make_nullable({"type": "number"}),
            guarded=FLAG,
            write_back={"type": "string", "enum": ["off", "files", "git"]},
            files=TEXT,
            version=TEXT,
        ),
        "SignedOut": make_object("The token is deleted from the browser.", signed_in={"const": False}),
        "Alive": make_object("The process answers.", status={"const": "ok"}),
        "Readiness": make_object(
            "Readiness. `age_seconds`: since Postgres last answered. "
            "`from_disk`: an earlier run's snapshot is served, as old as `age_seconds`. "
            "`failing_tasks`: background tasks that were restarted and have not run steadily since.",
            said,
            status={"type": "string", "enum": ["ready", "loading", "stopping"]},
        ),
        "Sync": make_object(
            "State of files, store and replicas. Fields from Postgres are null while it is away.",
            said,
            stamp=make_nullable(UUID),
            replica={**UUID, "description": "The one of `replicas` that responds."},
            loaded_at=make_nullable(TIME),
            store_problem=make_nullable(TEXT),
            problems=make_list(problem),
            runs=make_nullable(make_list(refer_to_schema("Run"))),
            conditions=make_nullable(make_list(refer_to_schema("ManifestCondition"))),
            condition_counts=make_nullable({"type": "object", "additionalProperties": COUNT}),
            replicas=make_nullable(make_list(refer_to_schema("Replica"))),
            leaders=make_nullable(make_list(refer_to_schema("Leader"))),
            pulls=make_nullable(make_list(refer_to_schema("Pull"))),
        ),
        "ProbeResult": make_dataclass_schema(ProbeResult),
        "AgentCheckResult": make_dataclass_schema(AgentCheckResult, ok=FLAG),
        "Verdict": make_dataclass_schema(AgentVerdict, optional=("problem", "fix"), ok=FLAG),
        "Providers": make_object(
            "Each kind's vendors by name.",
            {
                kind: {"type": "object", "additionalProperties": refer_to_schema("Vendor")}
                for kind in SECTIONS
            },
        ),
        "Vendor": make_object(
            "A vendor's settings.",
            schema={"type": "object", "description": "A JSON Schema."},
            secrets={**make_list(TEXT), "description": "The fields that are sealed."},
        ),
    }
