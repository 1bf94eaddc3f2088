"""Parameters of operations, in the words of the code that parses them."""

from __future__ import annotations

from typing import Any

from agentsd.core.ledger.status import STATUS_WORDS
from agentsd.core.names import SLUG_MAX
from agentsd.store.ledger.usage import USAGE_DIMENSIONS
from agentsd.web.openai.responses.endpoint import ITEM_ORDERS, ITEMS_DEFAULT, ITEMS_MAX
from agentsd.web.openai.transcript_formats import TRANSCRIPT_FORMATS
from agentsd.web.openapi.model import Parameter, Schema
from agentsd.web.rest.users import NAME_PATTERN
from agentsd.web.views.activity import RANGES
from agentsd.web.views.pagination import LIMIT_DEFAULT, LIMIT_MAX, TEXT_MAX, VIEWS
from agentsd.web.views.sort_order import CONDITION_SEVERITY, SORTS

TEXT: Schema = {"type": "string"}
_FILTER: Schema = {"type": "string", "maxLength": TEXT_MAX}
_SHORT: Schema = {**_FILTER, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_FLAG: Schema = {"type": "string", "enum": ["true", "false", "1", "0"]}
_SWITCH: Schema = {"type": "boolean", "default": False}


def _make_query(name: str, description: str, schema: Schema, example: Any = None) -> Parameter:
    return Parameter(name, "query", description, schema, example)


def _make_choice(*words: str, **more: str) -> Schema:
    return {"type": "string", "enum": [*words], **more}


def make_page(default: int = LIMIT_DEFAULT, maximum: int = LIMIT_MAX) -> tuple[Parameter, Parameter]:
    """Return the parameters of every list."""
    limit = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return (
        _make_query("limit", "The size of a page.", limit),
        _make_query("cursor", "`next_cursor` of the page before.", TEXT),
    )


PATH_PARAMETERS = {
    "agent": Parameter(
        "agent",
        "path",
        "A slug, with `~` for `/` (`acme~sales`), an id, or `current`: the one chosen by cookie, else the "
        "owner's default, else the built-in `echo`.",
        {"type": "string", "minLength": 1, "pattern": "^[^/?#]+$"},
        "current",
    ),
    "path": Parameter(
        "path",
        "path",
        "A file that the agent names, as `GET …/files` lists it.",
        {"type": "string", "minLength": 1, "pattern": "^[^?#]+$"},
        "prompts/front-desk.md",
    ),
    "user": Parameter(
        "user",
        "path",
        "The owner: a folder of manifests, or `default`, the top level.",
        {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$", "maxLength": SLUG_MAX},
        "acme",
    ),
    "tool": Parameter("tool", "path", "The tool's name.", {"type": "string"}, "order_status"),
    "name": Parameter("name", "path", "The token's name.", {"type": "string", "pattern": NAME_PATTERN}, "ci"),
    "response": Parameter("response", "path", "The id of a stored response.", TEXT, "resp_0"),
    "model": Parameter("model", "path", "A slug (with `/` or `~`), an id, or `current`.", TEXT, "current"),
}
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", "ETags that the client has: 304 if one still matches.", TEXT
)
IF_MATCH = Parameter(
    "If-Match", "header", "The ETag that was read: 412 if the agent has changed since.", TEXT
)
LAST_EVENT_ID = Parameter("Last-Event-ID", "header", "The last event received before a reconnect.", TEXT)
WAIT = _make_query(
    "wait",
    "Until the new version is live on this replica, or on all.",
    _make_choice("local", "all", default="local"),
)
DRY_RUN = _make_query(
    "dry_run",
    "Check and return the diff without changing anything; also where this server is read-only.",
    _SWITCH,
)
FORCE = _make_query("force", "Skip the lockout check.", _SWITCH)
CHECKS = _make_query("checks", "Run the manifest's checks, too.", _FLAG)
DIFF = _make_query("diff", "Include `changes`: the differences from the previous revision.", _FLAG)
AUDIT_FILTERS = (
    _make_query("owner", "Only entries on this owner's agents and tokens.", _SHORT),
    _make_query("agent", "Only entries on the agent of this slug; `~` replaces `/`.", _SHORT),
)
AGENT_FILTERS = (
    _make_query("owner", "Only agents of this owner.", _FILTER),
    _make_query(
        "q", "Only agents with this text in slug or name.", {"type": "string", "maxLength": TEXT_MAX}
    ),
    _make_query("active", "Only active agents, or only inactive ones.", _FLAG),
    _make_query(
        "provider",
        "Only agents that name this vendor.",
        {"type": "string", "maxLength": TEXT_MAX},
        "groq.com",
    ),
    _make_query("condition", "Only agents in this condition.", _make_choice(*CONDITION_SEVERITY)),
    _make_query("status", "Only agents with this status.", _make_choice(*STATUS_WORDS), "Failing"),
    _make_query("refused", "With refused files that never became an agent; with `view=summary`.", _FLAG),
    _make_query(
        "sort",
        "The sort key; `-` reverses the order. Conditions are ordered `Ready`, `Suspended`, `Degraded`, "
        "`Invalid`; statuses `Ready`, `Untested`, `Suspended`, `File refused`, `Failing`. A cursor is valid "
        "in its own order only.",
        _make_choice(*SORTS, default="slug"),
        "-updated_at",
    ),
    _make_query(
        "view",
        "`summary`: without the manifests' texts and settings.",
        _make_choice(*VIEWS, default="full"),
    ),
)
ACTIVITY_RANGE = _make_query("range", "How far back.", _make_choice(*RANGES, default="24h"))
_DAY: Schema = {"type": "string", "format": "date"}
USAGE = (
    _make_query(
        "by",
        f"What to group by, by commas: {', '.join(USAGE_DIMENSIONS)}.",
        {"type": "string", "default": "agent", "pattern": "^[a-z]+(,[a-z]+)*$"},
        "agent,day",
    ),
    _make_query("from", "The first day, in UTC; 29 days before the last where absent.", _DAY, "2026-11-01"),
    _make_query("to", "The last day; today where absent.", _DAY, "2026-11-30"),
    _make_query("owner", "Only agents of this owner.", _SHORT),
    _make_query("agent", "Only the agent of this slug; `~` replaces `/`.", _SHORT),
    _make_query("format", "JSON, or a table for spreadsheets.", _make_choice("json", "csv", default="json")),
)
INPUT_ITEMS = (
    _make_query(
        "limit",
        "The size of a page.",
        {"type": "integer", "minimum": 1, "maximum": ITEMS_MAX, "default": ITEMS_DEFAULT},
    ),
    _make_query("after", "`last_id` of the page before.", TEXT),
    _make_query("order", "`desc`: the last item first.", _make_choice(*ITEM_ORDERS, default=ITEM_ORDERS[0])),
)
MODEL_QUERY = _make_query("model", "An agent: its slug, its id, or `current`, the default.", TEXT, "current")
INTENT = _make_query(
    "intent", "`transcription`: listen only, and answer nothing.", _make_choice("transcription")
)
RECORDING = (
    MODEL_QUERY,
    _make_query("response_format", "For a bare recording.", _make_choice(*TRANSCRIPT_FORMATS)),
    _make_query(
        "stream",
        "For a bare recording: stream the text as it is recognised.",
        _make_choice("true", "false"),
    ),
    _make_query(
        "partials",
        "For a bare recording, with `stream`: also interim text that may still change.",
        _make_choice("true", "false"),
    ),
)
