"""Schemas of agents in responses."""

from __future__ import annotations

from agentsd.core.manifest.agent import SECTIONS
from agentsd.web.openapi.model import Schema, ref
from agentsd.web.openapi.schemas.common import (
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
)

_CONFIG: Schema = {
    "type": "object",
    "description": "The section as the manifest has it, secrets masked; `{}` where there is none.",
    "properties": {"provider": TEXT},
}
_DIGEST: Schema = {
    "type": "string",
    "pattern": "^([0-9a-f]{64})?$",
    "description": "SHA-256 over what makes it; empty if built in.",
}
_MODES: Schema = {"type": "string", "enum": ["files", "git"]}


def config_of(kind: str) -> str:
    """Return the field name of a kind: ``llm`` → ``llm_provider_config``."""
    return f"{kind}_provider_config"


def told() -> dict[str, Schema]:
    """Return the schemas of agents in responses."""
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
        "Preview": thing(
            "What an edit would come to. Seals are shortened to `ENC[…]`, and no secret is in it.",
            mode={
                "enum": ["off", "files", "git"],
                "description": "`off`: shown on what is stored, for a person to make.",
            },
            path={"type": "string", "description": "The manifest, below the folder of manifests."},
            file={"type": "string", "description": "The same with that folder: the file to edit."},
            branch={**nullable(TEXT), "description": "That it would wait on; `…` for what is new each time."},
            changed={"type": "boolean", "description": "False: the file says it already."},
            diff={"type": "string", "description": "Of all files that it touches, as `git diff` shows it."},
            text={"type": "string", "description": "The manifest as it would be; empty if it would go."},
            commit_message=nullable(TEXT),
            violations={**listed(ref("Violation")), "description": "Empty: what is refused is a 422."},
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
        "ValueList": thing(
            "What the files of an agent say.",
            items=listed(ref("Value")),
            digest=_DIGEST,
            commit=nullable(TEXT),
            version=COUNT,
        ),
        "Value": thing(
            "A value that holds no other, and where it stands.",
            pointer={
                "type": "string",
                "description": "The field, as the manifest calls it.",
                "examples": ["llm.model"],
            },
            value={"description": "`**********` for a secret."},
            secret={"type": "boolean", "description": "Whether the value is masked."},
            path={"type": "string", "description": "The file, in the folder of manifests."},
            line={"type": "integer", "minimum": 1},
            column={"type": "integer", "minimum": 1},
        ),
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
        digest=_DIGEST,
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
    """Return the schema of the manifest's fields; empty where the manifest leaves them out."""
    texts = dict.fromkeys(("description", "system_prompt", "greeting"), TEXT)
    optional = dict.fromkeys(("system_prompt_file", "language"), nullable(TEXT))
    configs = {config_of(kind): _CONFIG for kind in SECTIONS}
    others: Schema = {"rag_config": ANYTHING, "turn": ANYTHING, "checks": listed(ANYTHING)}
    return {**texts, **optional, **configs, **others}
