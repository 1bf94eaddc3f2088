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
        id="listDeeds",
        method="GET",
        path="/api/audit",
        group=GROUP,
        summary="Who wrote what, and who was refused, newest first",
        description=(
            "An admin sees all; whoever else, what was done to agents of its own owner. The newest 100,000 "
            "deeds are kept, and as many refusals, for 400 days at most."
        ),
        parameters=(
            Parameter("owner", "query", "Only deeds on this owner's agents and tokens.", _TEXT),
            Parameter("agent", "query", "Only deeds on the agent of this slug; `~` stands for `/`.", _TEXT),
            Parameter(
                "limit",
                "query",
                "How many to answer.",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            ),
            Parameter("before", "query", "Only deeds before this id.", {**COUNT, "maximum": 10**18 - 1}),
            IF_NONE_MATCH,
        ),
        replies=(
            Reply(
                200,
                "A page of deeds.",
                (MediaType(refer_to_schema("DeedPage")),),
                CACHE_HEADERS,
                {"listDeeds": {"before": "$response.body#/next_before"}},
            ),
            NOT_MODIFIED,
        ),
        errors=(400, 503),
    ),
)


def make_audit_schemas() -> dict[str, Schema]:
    """Return the components of the audit."""
    return {
        "Deed": make_object(
            "One thing that somebody did, or was refused.",
            id=COUNT,
            at=TIME,
            actor={"type": "string", "description": "`acme/ci` for a token, `cli:alice` for a command."},
            action={"type": "string", "description": "`update`, `token-revoke` and so on."},
            target={"type": "string", "description": "A slug; of tokens `token:acme/ci`."},
            user=make_nullable(
                {"type": "string", "description": "Whose users may read it; null: admins only."}
            ),
            outcome=make_nullable({"type": "string", "description": "`done`, `refused` or `failed`."}),
            status=make_nullable({"type": "integer", "description": "Of the reply; null for a command."}),
            code=make_nullable({"type": "string", "description": "Of the problem."}),
            path=make_nullable({"type": "string", "description": "The file that was written."}),
            from_version=make_nullable(COUNT),
            to_version=make_nullable(COUNT),
            commit=make_nullable(TEXT),
        ),
        "DeedPage": make_object(
            "A page of deeds.", items=make_list(refer_to_schema("Deed")), next_before=make_nullable(COUNT)
        ),
    }
