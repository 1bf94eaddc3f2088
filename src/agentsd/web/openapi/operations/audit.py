"""Description of the audit."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, Schema, refer_to_schema
from agentsd.web.openapi.operations.agents import CACHE_HEADERS, IF_NONE_MATCH, NOT_MODIFIED
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import COUNT, TEXT, TIME, make_list, make_nullable, make_object
from agentsd.web.rest.audit import LIMIT_DEFAULT, LIMIT_MAX
from agentsd.web.views.pagination import TEXT_MAX

_TEXT: Schema = {"type": "string", "maxLength": TEXT_MAX, "pattern": r"^[^\x00-\x1f\x7f]*$"}

OPERATIONS = (
    Operation(
        id="listAuditEntries",
        method="GET",
        path="/api/audit",
        group=GROUP,
        summary="Successful and refused writes, newest first",
        description=(
            "Admins see all entries; others those on agents of their own owner. The newest 100,000 "
            "writes are kept, and as many refusals, for 400 days at most."
        ),
        parameters=(
            Parameter("owner", "query", "Only entries on this owner's agents and tokens.", _TEXT),
            Parameter("agent", "query", "Only entries on the agent of this slug; `~` replaces `/`.", _TEXT),
            Parameter(
                "limit",
                "query",
                "The size of a page.",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            ),
            Parameter("before", "query", "Only entries before this id.", {**COUNT, "maximum": 10**18 - 1}),
            IF_NONE_MATCH,
        ),
        replies=(
            Reply(
                200,
                "A page of audit entries.",
                (MediaType(refer_to_schema("AuditEntryPage")),),
                CACHE_HEADERS,
                {"listAuditEntries": {"before": "$response.body#/next_before"}},
            ),
            NOT_MODIFIED,
        ),
        errors=(400, 503),
    ),
)


def make_audit_schemas() -> dict[str, Schema]:
    """Return the components of the audit."""
    return {
        "AuditEntry": make_object(
            "One successful, refused or failed write.",
            id=COUNT,
            at=TIME,
            actor={"type": "string", "description": "`acme/ci` for a token, `cli:alice` for a command."},
            action={"type": "string", "description": "`update`, `token-revoke` and so on."},
            target={"type": "string", "description": "A slug; for a token `token:acme/ci`."},
            user=make_nullable(
                {"type": "string", "description": "The owner whose users may read it; null: admins only."}
            ),
            outcome=make_nullable({"type": "string", "description": "`done`, `refused` or `failed`."}),
            status=make_nullable(
                {"type": "integer", "description": "Status of the response; null for a command."}
            ),
            code=make_nullable({"type": "string", "description": "Code of the problem."}),
            path=make_nullable({"type": "string", "description": "The file that was written."}),
            from_version=make_nullable(COUNT),
            to_version=make_nullable(COUNT),
            commit=make_nullable(TEXT),
        ),
        "AuditEntryPage": make_object(
            "A page of audit entries.",
            items=make_list(refer_to_schema("AuditEntry")),
            next_before=make_nullable(COUNT),
        ),
    }
