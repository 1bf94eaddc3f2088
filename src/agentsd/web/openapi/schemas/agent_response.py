"""Schemas of agents in responses."""

from __future__ import annotations

from agentsd.core.manifest.agent import SECTIONS
from agentsd.web.openapi.model import Schema, refer_to_schema
from agentsd.web.openapi.schemas.common import (
    ANYTHING,
    COUNT,
    FLAG,
    HEX,
    TEXT,
    TIME,
    UUID,
    make_dataclass_schema,
    make_list,
    make_nullable,
    make_object,
)
from agentsd.web.rest.agents.files import AgentFile

_CONFIG: Schema = {
    "type": "object",
    "description": "The section of the manifest, secrets masked; `{}` where it is absent.",
    "properties": {"provider": TEXT},
}
_DIGEST: Schema = {
    "type": "string",
    "pattern": "^([0-9a-f]{64})?$",
    "description": "SHA-256 of its content; empty for the built-in agent.",
}
_MODES: Schema = {"type": "string", "enum": ["files", "git"]}


def name_config_field(kind: str) -> str:
    """Return the field name of a kind: ``llm`` → ``llm_provider_config``."""
    return f"{kind}_provider_config"


def make_response_schemas() -> dict[str, Schema]:
    """Return the schemas of agents in responses."""
    agent = _make_agent()
    page: Schema = {
        "items": make_list({"anyOf": [refer_to_schema("Agent"), refer_to_schema("AgentSummary")]}),
        "total": COUNT,
        "next_cursor": make_nullable(TEXT),
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
        "commit": make_nullable(TEXT),
        "run_id": make_nullable(UUID),
        "created_at": TIME,
        "actor": {**make_nullable(TEXT), "description": "Who made it by API or command."},
        "trigger": {**make_nullable(TEXT), "description": "What started its run: watch, api, cli or pull."},
        **_make_document(),
    }
    past = make_object(
        "One historic state; `changes` where `diff` asks for them, null for its first.", revision
    )
    field_change = make_object(
        "A field that differs: with `old` and `new`, or `secret`, or the `lines` of a text's diff.",
        operation={"enum": ["add", "change", "remove"]},
        field=TEXT,
        old={},
        new={},
        secret={"enum": ["changed", "resealed"], "description": "`resealed`: a new ciphertext."},
        lines=make_list(TEXT),
    )
    return {
        "Agent": agent,
        "AgentSummary": _make_summary(agent),
        "AgentPage": make_object("A page of the list; `total` is of the whole.", page),
        "WrittenAgent": {
            **agent,
            "properties": {**agent["properties"], "write_back": refer_to_schema("WriteBack")},
        },
        "WriteBack": make_object(
            "The result of the edit.",
            mode=_MODES,
            path=make_nullable(TEXT),
            commit=make_nullable(TEXT),
            branch=make_nullable(TEXT),
            pushed=make_nullable(FLAG),
            message={"type": "string", "description": "Warnings, for example about replicas that are late."},
        ),
        "Preview": make_object(
            "The preview of an edit. Seals are shortened to `ENC[…]`, and secrets are masked.",
            mode={
                "enum": ["off", "files", "git"],
                "description": "`off`: based on the stored manifest, to be made by hand.",
            },
            path={"type": "string", "description": "The manifest, below the folder of manifests."},
            file={"type": "string", "description": "The same with that folder: the file to edit."},
            branch={
                **make_nullable(TEXT),
                "description": "The branch of the edit; `…` replaces its random part.",
            },
            changed={"type": "boolean", "description": "False: the file is unchanged."},
            diff={"type": "string", "description": "Diff of all files that it changes, as from `git diff`."},
            text={"type": "string", "description": "The resulting manifest; empty if it would be deleted."},
            commit_message=make_nullable(TEXT),
            violations={
                **make_list(refer_to_schema("Violation")),
                "description": "Empty: a refused edit is a 422.",
            },
        ),
        "Written": make_object(
            "The edit of an agent that is not served: it is deleted, or the edit waits on a branch.",
            id=UUID,
            slug=TEXT,
            deleted=FLAG,
            version=make_nullable(COUNT),
            write_back=refer_to_schema("WriteBack"),
        ),
        "AgentFile": make_dataclass_schema(AgentFile),
        "AgentFileList": make_object(
            "Files that an agent names.", items=make_list(refer_to_schema("AgentFile"))
        ),
        "AgentFileText": make_dataclass_schema(AgentFile, text=TEXT),
        "Revision": {
            **past,
            "properties": {
                **past["properties"],
                "changes": make_nullable(make_list(refer_to_schema("FieldChange"))),
            },
        },
        "FieldChange": {**field_change, "required": ["operation", "field"]},
        "ValueList": make_object(
            "The values of an agent's files.",
            items=make_list(refer_to_schema("Value")),
            digest=_DIGEST,
            commit=make_nullable(TEXT),
            version=COUNT,
        ),
        "Value": make_object(
            "A value that contains no other, and its place.",
            pointer={
                "type": "string",
                "description": "The field's pointer in the manifest.",
                "examples": ["llm.model"],
            },
            value={"description": "`**********` for a secret."},
            secret={"type": "boolean", "description": "Whether the value is masked."},
            path={"type": "string", "description": "The file, in the folder of manifests."},
            line={"type": "integer", "minimum": 1},
            column={"type": "integer", "minimum": 1},
        ),
        "RevisionPage": make_object(
            "Newest first; `next_before` is the cursor of the next page.",
            items=make_list(refer_to_schema("Revision")),
            next_before=make_nullable(COUNT),
        ),
    }


def _make_agent() -> Schema:
    return make_object(
        "An agent. Secrets are always `**********`.",
        _make_document(),
        id=UUID,
        user={"type": "string", "description": "The owner."},
        slug=TEXT,
        name=TEXT,
        is_default={"type": "boolean", "description": "Answers when no agent is named."},
        is_active={"type": "boolean", "description": "False: suspended."},
        digest=_DIGEST,
        version={**COUNT, "description": "The version that last touched it."},
        source={"type": "string", "description": "The source of its file."},
        path=make_nullable(TEXT),
        commit=make_nullable(TEXT),
        created_at=make_nullable(TIME),
        updated_at=make_nullable(TIME),
        condition=refer_to_schema("Condition"),
        serving_version={
            **make_nullable(COUNT),
            "description": "The version that is served; null where none can be.",
        },
        lacks={
            **make_list(TEXT),
            "description": "What it lacks to answer, as far as it can be seen without asking a vendor.",
        },
    )


def _make_summary(agent: Schema) -> Schema:
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
    more = ("commit", "path", "source", "updated_at", "condition", "lacks")
    vendors: Schema = {"type": "object", "properties": dict.fromkeys(SECTIONS, TEXT)}
    return make_object(
        "An agent as `view=summary` lists it.",
        {name: agent["properties"][name] for name in (*names, *more)},
        providers={**vendors, "description": "Vendors by section."},
    )


def _make_document() -> Schema:
    """Return the schema of the manifest's fields; empty where the manifest leaves them out."""
    texts = dict.fromkeys(("description", "system_prompt", "greeting"), TEXT)
    optional = dict.fromkeys(("system_prompt_file", "language"), make_nullable(TEXT))
    configs = {name_config_field(kind): _CONFIG for kind in SECTIONS}
    others: Schema = {"rag_config": ANYTHING, "turn": ANYTHING, "checks": make_list(ANYTHING)}
    return {**texts, **optional, **configs, **others}
