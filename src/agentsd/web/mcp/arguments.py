"""Arguments of the tools: what an assistant may send, every text and list bounded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agentsd.core.names import SLUG_MAX
from agentsd.web.json_body import RequestModel
from agentsd.web.rest.agents.files import TEXT_BYTES_MAX

MESSAGE_CHARACTERS_MAX = 100_000
HISTORY_MAX = 100
PAGE_MAX = 100

AgentRef = Annotated[
    str,
    Field(
        min_length=1,
        max_length=SLUG_MAX,
        description="The agent's slug (`acme/sales`), its id, or `current`.",
    ),
]
MessageText = Annotated[str, Field(min_length=1, max_length=MESSAGE_CHARACTERS_MAX)]
FilePath = Annotated[
    str,
    Field(min_length=1, max_length=1000, description="The file's path below the folder of manifests."),
]
DryRun = Annotated[
    bool,
    Field(
        description="True: change nothing, and return the diff; also where this server is read-only.",
    ),
]
Expected = Annotated[
    str | None,
    Field(
        max_length=64,
        pattern="^[0-9a-f]{64}$",
        description="The `digest` of the agent or text that the edit is based on; if it has changed since, "
        "the edit is refused.",
    ),
]


class ListArguments(RequestModel):
    """Filter and page of the list of agents."""

    query: Annotated[str | None, Field(max_length=200, description="Part of a slug or name.")] = None
    condition: Annotated[
        Literal["Ready", "Degraded", "Invalid", "Suspended"] | None,
        Field(description="Only agents in this condition."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50
    cursor: Annotated[
        str | None, Field(max_length=2000, description="The `next_cursor` of the page before.")
    ] = None


class AgentArguments(RequestModel):
    """One agent."""

    agent: AgentRef


class FileArguments(RequestModel):
    """File that an agent's manifest names."""

    agent: AgentRef
    path: FilePath


class HistoryMessage(RequestModel):
    """Earlier message of a conversation."""

    role: Literal["user", "assistant"]
    content: MessageText


class AskArguments(RequestModel):
    """Message to an agent."""

    agent: AgentRef
    message: MessageText
    history: Annotated[
        list[HistoryMessage],
        Field(max_length=HISTORY_MAX, description="The conversation until now, oldest message first."),
    ] = []  # noqa: RUF012  (pydantic copies it)


class NoArguments(RequestModel):
    """Nothing."""


class EditArguments(RequestModel):
    """Edit of an agent's manifest."""

    agent: AgentRef
    changes: Annotated[
        dict[str, Any],
        Field(
            min_length=1,
            description="A JSON Merge Patch (RFC 7396) of the fields that read_agent returns: what is given "
            'replaces, null removes, the rest stays. For example {"system_prompt": "You are terse."}.',
        ),
    ]
    dry_run: DryRun = False
    expected_digest: Expected = None


class TextArguments(RequestModel):
    """New text of a file that an agent's manifest names."""

    agent: AgentRef
    path: FilePath
    text: Annotated[str, Field(max_length=TEXT_BYTES_MAX)]
    dry_run: DryRun = False
    expected_digest: Expected = None


class TestArguments(RequestModel):
    """Test of an agent."""

    __test__ = False

    agent: AgentRef
    checks: Annotated[bool, Field(description="Also run the checks of its manifest.")] = False
