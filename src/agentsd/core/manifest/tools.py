"""Sections ``tools`` and ``tool_rounds`` of a manifest: what an agent may do, and where its keys may go.

An entry is one of three: a tool that is an HTTP request (``http``), one that the client runs
(``client: true``), or a server of the Model Context Protocol (``mcp``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, WrapValidator

from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.manifest.tool_checks import find_tool_problems
from agentsd.core.manifest.tool_schema import make_parameters_schema
from agentsd.core.manifest.turn import SAY_MAX
from agentsd.core.secret import Secret

TOOL_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
"""Pattern of a tool's name; that of OpenAI's interfaces."""
TOOLS_MAX = 64
"""Entries of one manifest."""
TOOL_ROUNDS_MAX = 32
TIMEOUT_SECONDS_MAX = 300

_PLAIN = {"x-plain": True}


class AuthToken(StrictModel):
    """Secret with the only origin that it may be sent to; both are sealed."""

    value: Annotated[Secret, Field(description="The secret, sealed by sops.")]
    origin: Annotated[
        Secret,
        Field(
            description="Scheme, host and port that the secret belongs to, as `https://api.example.com`; "
            "sealed as well, so that nobody without a key can send it elsewhere."
        ),
    ]


OptionalToken = Annotated[
    Secret | AuthToken | None,
    Field(description="Secret with its origin, sealed; a bare one only goes to AGENTSD_TRUSTED_ORIGINS."),
]


class HttpRequest(StrictModel):
    """Request that a tool is. `{x}` is an argument: in a path segment, a value of a query, header or body."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
        Field(
            description="Method; only GET is ever tried again.", examples=["GET"], json_schema_extra=_PLAIN
        ),
    ] = "GET"
    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^\s]+$",
            max_length=2000,
            description="Address. Scheme, host and port contain no placeholder.",
            examples=["https://erp.example.com/orders/{order_id}"],
            json_schema_extra=_PLAIN,
        ),
    ]
    query: Annotated[
        dict[str, str], Field(description="Members of the query.", examples=[{"language": "{language}"}])
    ] = {}  # noqa: RUF012  (pydantic copies it)
    headers: Annotated[
        dict[str, str], Field(description="Headers, without credentials.", examples=[{"X-Team": "support"}])
    ] = {}  # noqa: RUF012
    body: Annotated[
        dict[str, JsonValue] | None,
        Field(description="Members of the JSON body.", examples=[{"order": {"id": "{order_id}"}}]),
    ] = None
    auth_header: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$",
            description="Header of the secret; in `Authorization` it is a Bearer token.",
            examples=["X-Api-Key"],
            json_schema_extra=_PLAIN,
        ),
    ] = "Authorization"


class _NamedTool(StrictModel):
    """Common part of the tools that a manifest describes."""

    name: Annotated[
        str,
        Field(
            pattern=TOOL_NAME_PATTERN,
            description="What the model calls it; unique in the manifest.",
            examples=["order_status"],
            json_schema_extra=_PLAIN,
        ),
    ]
    description: Annotated[
        str,
        Field(
            max_length=2000,
            description="What the model knows of it.",
            examples=["Looks an order up by its number."],
        ),
    ] = ""
    parameters: Annotated[
        dict[str, JsonValue],
        Field(
            description="JSON Schema of each parameter; one without a default is required.",
            examples=[{"order_id": {"type": "string", "description": "Six digits."}}],
        ),
    ] = {}  # noqa: RUF012

    @property
    def parameters_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        return make_parameters_schema(self.parameters)


class _SpokenTool(StrictModel):
    """Common part of the tools that this server runs."""

    timeout_seconds: Annotated[
        float,
        Field(gt=0, le=TIMEOUT_SECONDS_MAX, description="Longest wait for a result.", examples=[5]),
    ] = 10.0
    say: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=SAY_MAX,
            description="What a caller hears while it runs, if nothing was said within `say_after_ms`.",
            examples=["One moment, I am looking that up."],
        ),
    ] = None
    say_after_ms: Annotated[
        int, Field(ge=0, le=60_000, description="Silence before `say`, in ms.", examples=[800])
    ] = 800
    on_interrupt: Annotated[
        Literal["finish", "cancel"],
        Field(description="What happens to it if the caller interrupts.", examples=["finish"]),
    ] = "finish"
    confirm: Annotated[
        bool,
        Field(
            description="Whether the user has to agree first: for what cannot be undone.",
            examples=[True],
            json_schema_extra=_PLAIN,
        ),
    ] = False


class HttpTool(_SpokenTool, _NamedTool):
    """Tool that is an HTTP request of this server."""

    http: Annotated[HttpRequest, Field(description="The request.")]
    auth_token: OptionalToken = None


class ClientTool(_NamedTool):
    """Tool that the client runs: an ordinary tool call of OpenAI's interfaces."""

    client: Annotated[
        Literal[True], Field(description="The client runs it.", examples=[True], json_schema_extra=_PLAIN)
    ]


class McpServer(StrictModel):
    """Server of the Model Context Protocol, by streamable HTTP. Its tools are pinned by a lock file."""

    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/?#@\s]+(/[^#\s]*)?$",
            max_length=2000,
            description="Address of the server.",
            examples=["https://mcp.example.com/mcp"],
            json_schema_extra=_PLAIN,
        ),
    ]
    auth_token: OptionalToken = None
    allow: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(
            min_length=1,
            max_length=TOOLS_MAX,
            description="Names of the server's tools that the agent may use.",
            examples=[["search_docs", "create_ticket"]],
            json_schema_extra=_PLAIN,
        ),
    ]
    lock: Annotated[
        str,
        Field(
            min_length=1,
            description="File beside the manifest that pins the tools: written by `agentsd tools lock`.",
            examples=["_tools.lock.yaml"],
            json_schema_extra=_PLAIN,
        ),
    ] = "_tools.lock.yaml"


class McpTools(_SpokenTool):
    """Tools of a server of the Model Context Protocol."""

    mcp: Annotated[McpServer, Field(description="The server.")]


ToolEntry = HttpTool | ClientTool | McpTools
"""Entry of ``tools``."""


def get_entry_kind(value: object) -> str:
    """Return which kind of entry a value is: ``mcp``, ``client`` or ``http``."""
    if isinstance(value, McpTools) or (isinstance(value, Mapping) and "mcp" in value):
        return "mcp"
    if isinstance(value, ClientTool) or (isinstance(value, Mapping) and "client" in value):
        return "client"
    return "http"


def choose_by_key(schema: dict[str, Any]) -> None:
    """Describe an entry so that editors and errors follow one branch: by its key ``mcp`` or ``client``."""
    branches = schema["items"].pop("oneOf")
    http, client, mcp = branches
    chosen = {"if": {"required": ["client"]}, "then": client, "else": http}
    schema["items"] = {"type": "object", "if": {"required": ["mcp"]}, "then": mcp, "else": chosen}


def _check_tools(value: Any, handler: Any) -> Any:
    """Refuse what ``validate`` refuses: a row may have been written by hand."""
    tools = handler(value)
    problem = next(find_tool_problems(value, None), None)
    if problem is not None:
        raise ValueError(problem.message)
    return tools


ToolEntries = Annotated[
    list[
        Annotated[
            Annotated[HttpTool, Tag("http")]
            | Annotated[ClientTool, Tag("client")]
            | Annotated[McpTools, Tag("mcp")],
            Discriminator(get_entry_kind),
        ]
    ],
    WrapValidator(_check_tools),
    Field(
        max_length=TOOLS_MAX,
        description="What the agent can do: HTTP requests, tools of MCP servers, tools of the client.",
        json_schema_extra=choose_by_key,
    ),
]
"""Section ``tools``."""

ToolRounds = Annotated[
    int,
    Field(
        ge=1,
        le=TOOL_ROUNDS_MAX,
        description="How often in one turn the model may ask for tools before it has to answer.",
        examples=[6],
    ),
]
