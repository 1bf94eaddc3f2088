"""Description of the plan."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Reply, Schema, refer_to_schema
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import (
    COUNT,
    FLAG,
    TEXT,
    TIME,
    UUID,
    make_list,
    make_nullable,
    make_object,
)

OPERATIONS = (
    Operation(
        id="getSyncPlan",
        method="GET",
        path="/api/sync/plan",
        group=GROUP,
        summary="The changes that a sync of this server's folder would make now",
        description=(
            "Planned, never applied; drift shows as `heal`. Where this server has no folder of manifests, "
            "`available` is false and `why` contains the reason. Concurrent requests share one result."
        ),
        replies=(Reply(200, "The plan.", (MediaType(refer_to_schema("SyncPlan")),)),),
        errors=(503,),
        role="admin",
    ),
)


def make_plan_schemas() -> dict[str, Schema]:
    """Return the components of the plan."""
    violation = make_object(
        "One broken rule of one file.",
        dict.fromkeys(("path", "code", "severity", "field", "message", "hint"), TEXT),
        line=COUNT,
        column=COUNT,
    )
    fields = make_list(refer_to_schema("FieldChange"))
    return {
        "PlannedViolation": violation,
        "PlannedChange": make_object(
            "The change of one agent. `heal`: its row was edited in the database, and the file wins.",
            dict.fromkeys(("slug", "owner", "path", "old_slug"), TEXT),
            optional=("old_slug", "reason"),
            operation={"enum": ["create", "update", "rename", "delete", "heal"]},
            reason={"const": "form", "description": "Comments, layout or line endings only."},
            id=UUID,
            fields=fields,
        ),
        "Plan": make_object(
            "As `agentsd plan --format json` prints it.",
            source=TEXT,
            empty=FLAG,
            summary={"type": "object", "additionalProperties": COUNT},
            changes=make_list(refer_to_schema("PlannedChange")),
            users=make_list(
                make_object(
                    "The change of one owner.",
                    optional=("fields",),
                    operation={"enum": ["create", "update", "delete", "heal"]},
                    username=TEXT,
                    fields=fields,
                )
            ),
            quarantined=make_list(
                make_object(
                    "A quarantined file.",
                    path=TEXT,
                    violations=make_list(refer_to_schema("PlannedViolation")),
                )
            ),
            held_back={**make_list(TEXT), "description": "Agents that stay while a file is quarantined."},
            orphaned={**make_list(TEXT), "description": "Agents that remain without a file."},
            version=COUNT,
            applied={"const": False},
            seconds={"type": "number"},
        ),
        "SyncPlan": make_object(
            "The plan, or the reason why there is none.",
            optional=("why", "hint", "plan", "warnings", "guard", "commit", "at"),
            available=FLAG,
            why=TEXT,
            hint=TEXT,
            plan=refer_to_schema("Plan"),
            warnings=make_list(refer_to_schema("PlannedViolation")),
            guard=make_nullable(
                make_object(
                    "What would prevent a daemon from applying it.",
                    dict.fromkeys(("code", "message", "hint"), TEXT),
                    removes=COUNT,
                )
            ),
            commit=make_nullable(TEXT),
            at=TIME,
        ),
    }
