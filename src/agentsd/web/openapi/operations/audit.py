"""Description of the audit."""

from __future__ import annotations

from agentsd.web.openapi.model import Content, Operation, Parameter, Reply, Schema, ref
from agentsd.web.openapi.operations.agents import IF_NONE_MATCH, KEPT, UNCHANGED
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import COUNT, TEXT, TIME, listed, nullable, thing
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
                (Content(ref("DeedPage")),),
                KEPT,
                {"listDeeds": {"before": "$response.body#/next_before"}},
            ),
            UNCHANGED,
        ),
        errors=(400, 503),
    ),
)


def audit() -> dict[str, Schema]:
    """Return the components of the audit."""
    return {
        "Deed": thing(
            "One thing that somebody did, or was refused.",
            id=COUNT,
            at=TIME,
            actor={"type": "string", "description": "`acme/ci` for a token, `cli:alice` for a command."},
            action={"type": "string", "description": "`update`, `token-revoke` and so on."},
            target={"type": "string", "description": "A slug; of tokens `token:acme/ci`."},
            user=nullable({"type": "string", "description": "Whose users may read it; null: admins only."}),
            outcome=nullable({"type": "string", "description": "`done`, `refused` or `failed`."}),
            status=nullable({"type": "integer", "description": "Of the reply; null for a command."}),
            code=nullable({"type": "string", "description": "Of the problem."}),
            path=nullable({"type": "string", "description": "The file that was written."}),
            from_version=nullable(COUNT),
            to_version=nullable(COUNT),
            commit=nullable(TEXT),
        ),
        "DeedPage": thing("A page of deeds.", items=listed(ref("Deed")), next_before=nullable(COUNT)),
    }
