"""Description of /api/agents: reading, selecting, testing."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, Schema, refer_to_schema
from agentsd.web.openapi.schemas.common import COUNT
from agentsd.web.rest.agents.revisions import LIMIT_DEFAULT as REVISIONS_DEFAULT
from agentsd.web.rest.agents.revisions import LIMIT_MAX as REVISIONS_MAX
from agentsd.web.views.pagination import LIMIT_DEFAULT, LIMIT_MAX, TEXT_MAX, VIEWS
from agentsd.web.views.sort_order import CONDITION_SEVERITY, SORTS

GROUP = "Agents"
AGENT = Parameter(
    "agent",
    "path",
    "A slug, with `~` for `/` (`acme~sales`), an id, or `current`: the one chosen by cookie, else the "
    "owner's default, else the built-in `echo`.",
    {"type": "string", "minLength": 1, "pattern": "^[^/?#]+$"},
    "current",
)
FILE = Parameter(
    "path",
    "path",
    "A file that the agent names, as `GET …/files` lists it.",
    {"type": "string", "minLength": 1, "pattern": "^[^?#]+$"},
    "prompts/front-desk.md",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", "ETags that the client has: 304 if one still matches.", {"type": "string"}
)
CACHE_HEADERS = ("ETag", "Vary")
NOT_MODIFIED = Reply(304, "The client's copy is current.", (), CACHE_HEADERS)
_FLAG: Schema = {"type": "string", "enum": ["true", "false", "1", "0"]}
_TEXT: Schema = {"type": "string", "maxLength": TEXT_MAX}

FOLLOW_UP_LINKS = {
    "getAgent": {"agent": "$response.body#/id"},
    "selectAgent": {"agent": "$response.body#/id"},
    "testAgent": {"agent": "$response.body#/id"},
    "listRevisions": {"agent": "$response.body#/id"},
    "listValues": {"agent": "$response.body#/id"},
    "patchAgent": {"agent": "$response.body#/id"},
    "putAgent": {"agent": "$response.body#/id"},
    "setDefaultAgent": {"agent": "$response.body#/id"},
    "rollbackAgent": {"agent": "$response.body#/id"},
    "deleteAgent": {"agent": "$response.body#/id"},
}
"""Follow-up operations on an agent by its id."""

FIRST_ITEM_LINKS = {"getAgent": {"agent": "$response.body#/items/0/id"}}


def _make_limit(default: int, maximum: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return Parameter("limit", "query", "The size of a page.", schema)


OPERATIONS = (
    Operation(
        id="listAgents",
        method="GET",
        path="/api/agents",
        group=GROUP,
        summary="A page of agents",
        description="Sorted by slug by default; agents with equal keys are sorted by slug, too.",
        parameters=(
            _make_limit(LIMIT_DEFAULT, LIMIT_MAX),
            Parameter("cursor", "query", "The cursor from the previous response.", {"type": "string"}),
            Parameter("owner", "query", "Only agents of this owner.", _TEXT),
            Parameter("q", "query", "Only agents with this text in slug or name.", _TEXT),
            Parameter("active", "query", "Only active agents, or only inactive ones.", _FLAG),
            Parameter("provider", "query", "Only agents that name this vendor.", _TEXT, "groq.com"),
            Parameter(
                "condition",
                "query",
                "Only agents in this condition.",
                {"type": "string", "enum": [*CONDITION_SEVERITY]},
            ),
            Parameter(
                "sort",
                "query",
                "The sort key; `-` reverses the order. Conditions are ordered `Ready`, "
                "`Suspended`, `Degraded`, `Invalid`. A cursor is valid in its own order only.",
                {"type": "string", "enum": [*SORTS], "default": "slug"},
                "-updated_at",
            ),
            Parameter(
                "view",
                "query",
                "`summary`: without the manifests' texts and settings.",
                {"type": "string", "enum": [*VIEWS], "default": "full"},
            ),
            IF_NONE_MATCH,
        ),
        replies=(
            Reply(
                200,
                "The page.",
                (MediaType(refer_to_schema("AgentPage")),),
                (*CACHE_HEADERS, "Link"),
                FIRST_ITEM_LINKS,
            ),
            NOT_MODIFIED,
        ),
        errors=(400, 503),
        query="?limit=10",
    ),
    Operation(
        id="getAgent",
        method="GET",
        path="/api/agents/{agent}",
        group=GROUP,
        summary="One agent",
        description="`current` may be the built-in agent, which has no file.",
        parameters=(AGENT, IF_NONE_MATCH),
        replies=(
            Reply(200, "The agent.", (MediaType(refer_to_schema("Agent")),), CACHE_HEADERS, FOLLOW_UP_LINKS),
            NOT_MODIFIED,
        ),
        errors=(404, 503),
    ),
    Operation(
        id="listValues",
        method="GET",
        path="/api/agents/{agent}/values",
        group=GROUP,
        summary="Values of an agent's files, with their places",
        description="All values of the manifest, layers merged. Empty for the built-in agent, and "
        "while a file cannot be read: the condition contains the reason.",
        parameters=(AGENT, IF_NONE_MATCH),
        replies=(
            Reply(200, "The values.", (MediaType(refer_to_schema("ValueList")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
        errors=(404, 503),
    ),
    Operation(
        id="selectAgent",
        method="POST",
        path="/api/agents/{agent}/select",
        group=GROUP,
        summary="Choose the current agent, by cookie",
        description="Also works on a read-only server.",
        parameters=(AGENT,),
        replies=(Reply(200, "The chosen agent.", (MediaType(refer_to_schema("Agent")),), ("Set-Cookie",)),),
        errors=(404, 409, 503),
    ),
    Operation(
        id="testAgent",
        method="POST",
        path="/api/agents/{agent}/test",
        group=GROUP,
        summary="Probe every provider of an agent for real",
        description="200 whatever the result: `ok` contains it, and every failure comes with its fix.",
        parameters=(
            AGENT,
            Parameter("checks", "query", "Run the manifest's checks, too.", _FLAG),
        ),
        replies=(
            Reply(
                200,
                "The results.",
                (MediaType(refer_to_schema("Verdict")),),
                ("X-Agent", "X-Agent-Version"),
            ),
        ),
        errors=(400, 404, 503),
    ),
    Operation(
        id="listAgentFiles",
        method="GET",
        path="/api/agents/{agent}/files",
        group=GROUP,
        summary="Texts that an agent names: its prompt and its sources of knowledge",
        parameters=(AGENT, IF_NONE_MATCH),
        replies=(
            Reply(200, "The files.", (MediaType(refer_to_schema("AgentFileList")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
        errors=(400, 404, 503),
    ),
    Operation(
        id="getAgentFile",
        method="GET",
        path="/api/agents/{agent}/files/{path}",
        group=GROUP,
        summary="Text of a prompt or of a source of knowledge",
        description="404 also for a source where this server does not have the files.",
        parameters=(AGENT, FILE, IF_NONE_MATCH),
        replies=(
            Reply(200, "The file.", (MediaType(refer_to_schema("AgentFileText")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
        errors=(400, 404, 503),
        on="front-desk",
    ),
    Operation(
        id="listRevisions",
        method="GET",
        path="/api/agents/{agent}/revisions",
        group=GROUP,
        summary="Revisions of an agent, newest first",
        description="A deleted agent's history is still found by its id.",
        parameters=(
            AGENT,
            _make_limit(REVISIONS_DEFAULT, REVISIONS_MAX),
            Parameter("before", "query", "Only versions before this one.", {**COUNT, "maximum": 10**18 - 1}),
            Parameter(
                "diff", "query", "Include `changes`: the differences from the previous revision.", _FLAG
            ),
            IF_NONE_MATCH,
        ),
        replies=(
            Reply(
                200,
                "A page of revisions.",
                (MediaType(refer_to_schema("RevisionPage")),),
                CACHE_HEADERS,
                {"listRevisions": {"agent": "$request.path.agent", "before": "$response.body#/next_before"}},
            ),
            NOT_MODIFIED,
        ),
        errors=(400, 404, 503),
    ),
)
