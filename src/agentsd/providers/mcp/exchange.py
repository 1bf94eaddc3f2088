"""Failures of exchanges with an MCP server, noted where they are known: in the HTTP below the SDK.

The SDK carries the context of a call down to the request that it sends, so a failure there (a redirect,
a flood, an address that is not allowed) is noted in the exchange, and read when the SDK gives up.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from agentsd.core.errors import AgentsdError

FailureKind = Literal[
    "timeout", "unreachable", "forbidden", "redirect", "unauthorized", "too_large", "session_lost",
    "needs_input", "invalid_result", "failed",
]  # fmt: skip
"""Kinds of failures.

timeout         the server did not answer in time
unreachable     no connection, or one that ended early
forbidden       the outbound rules do not allow the address
redirect        it answered with a redirect, which is not followed
unauthorized    it does not accept the key
too_large       it sent more than is read
session_lost    it does not know the session any more; nothing was done
needs_input     it asks for input (sampling, elicitation), which is not given
invalid_result  its answer breaks the protocol, or the tool's own schema
failed          it reported an error
"""

_MESSAGES: dict[str, str] = {
    "timeout": "the MCP server did not answer in time",
    "unreachable": "the MCP server cannot be reached",
    "forbidden": "a connection to the MCP server is not allowed",
    "redirect": "the MCP server answered with a redirect, which is not followed",
    "unauthorized": "the MCP server does not accept the key",
    "too_large": "the MCP server sent more than is read",
    "session_lost": "the MCP server has ended the session",
    "needs_input": "the MCP server asks for input, which this server does not give",
    "invalid_result": "the MCP server sent an answer that is not valid",
    "failed": "the MCP server reported an error",
}
_HINTS: dict[str, str] = {
    "timeout": "is it up? timeout_seconds allows more time",
    "unreachable": "is it up, and its URL right?",
    "forbidden": "correct the URL; AGENTSD_OUTBOUND lists what is allowed",
    "redirect": "set the URL to the final one",
    "unauthorized": "seal a valid auth_token: agentsd edit FILE",
}


class McpFailure(AgentsdError):
    """Failure of an exchange with an MCP server, in our own words."""

    def __init__(self, kind: FailureKind, detail: str = "") -> None:
        message = _MESSAGES[kind] + (f": {detail}" if detail else "")
        super().__init__(message, hint=_HINTS.get(kind, ""))
        self.kind = kind


@dataclass(slots=True)
class Exchange:
    """Exchange that is under way."""

    failure: McpFailure | None = None
    hopeless: bool = False  # the failure is of the connection: another request would meet it, too

    def note(self, kind: FailureKind, detail: str = "", *, hopeless: bool = False) -> None:
        """Note what went wrong; the latest failure is the one that counts."""
        self.failure = McpFailure(kind, detail)
        self.hopeless |= hopeless


EXCHANGE: ContextVar[Exchange | None] = ContextVar("mcp_exchange", default=None)
"""The exchange that the current context belongs to."""
