"""Description of the plan."""

from __future__ import annotations

from agentsd.web.openapi.model import Content, Operation, Reply, Schema, ref
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import COUNT, FLAG, TEXT, TIME, UUID, listed, nullable, thing

OPERATIONS = (
    Operation(
        id="getSyncPlan",
        method="GET",
        path="/api/sync/plan",
        group=GROUP,
        summary="What a sync of this server's folder would change now",
        description=(
            "Planned, never applied; drift shows as `heal`. Where this server has no folder of manifests, "
            "`available` is false, and `why` says it. One look at a time: who asks meanwhile gets its result."
        ),
        replies=(Reply(200, "The plan.", (Content(ref("SyncPlan")),)),),
        errors=(503,),
        role="admin",
    ),
)


def plans() -> dict[str, Schema]:
    """Return the components of the plan."""
    violation = thing(
        "One broken rule of one file.",
        dict.fromkeys(("path", "code", "severity", "field", "message", "hint"), TEXT),
        line=COUNT,
        column=COUNT,
    )
    fields = listed(ref("FieldChange"))
    return {
        "PlannedViolation": violation,
        "PlannedChange": thing(
            "What becomes of one agent. `heal`: its row was edited in the database, and the file wins.",
            dict.fromkeys(("slug", "owner", "path", "old_slug"), TEXT),
            optional=("old_slug",),
            operation={"enum": ["create", "update", "rename", "delete", "heal"]},
            id=UUID,
            fields=fields,
        ),
        "Plan": thing(
            "As `agentsd plan --format json` prints it.",
            source=TEXT,
            empty=FLAG,
            summary={"type": "object", "additionalProperties": COUNT},
            changes=listed(ref("PlannedChange")),
            users=listed(
                thing(
                    "What becomes of one owner.",
                    optional=("fields",),
                    operation={"enum": ["create", "update", "delete", "heal"]},
                    username=TEXT,
                    fields=fields,
                )
            ),
            quarantined=listed(
                thing("A file set aside.", path=TEXT, violations=listed(ref("PlannedViolation")))
            ),
            held_back={**listed(TEXT), "description": "Agents that stay while a file is set aside."},
            orphaned={**listed(TEXT), "description": "Agents that outlive their files."},
            version=COUNT,
            applied={"const": False},
            seconds={"type": "number"},
        ),
        "SyncPlan": thing(
            "The plan, or why there is none.",
            optional=("why", "hint", "plan", "warnings", "guard", "commit", "at"),
            available=FLAG,
            why=TEXT,
            hint=TEXT,
            plan=ref("Plan"),
            warnings=listed(ref("PlannedViolation")),
            guard=nullable(
                thing(
                    "What would keep a daemon from applying it.",
                    dict.fromkeys(("code", "message", "hint"), TEXT),
                    removes=COUNT,
                )
            ),
            commit=nullable(TEXT),
            at=TIME,
        ),
    }
