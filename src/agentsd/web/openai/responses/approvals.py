"""Answers of a user to requests for consent: ``mcp_approval_response``. Pure.

https://platform.openai.com/docs/guides/tools-connectors-mcp
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentsd.providers.tool import ToolResult
from agentsd.services.tools.events import ToolCall
from agentsd.services.tools.executor import make_content
from agentsd.web.http.problem import bad_request
from agentsd.web.openai.responses.tool_items import make_call_messages

_DECLINED = ToolResult("declined", "the user did not agree: do not do it")


@dataclass(frozen=True, slots=True)
class Approvals:
    """Calls that the user agreed to, and what the model reads of the others."""

    approved: tuple[ToolCall, ...] = ()
    declined: tuple[Mapping[str, Any], ...] = ()  # messages


def read_approvals(items: Any, earlier: Iterable[Mapping[str, Any]]) -> Approvals:
    """Return the answers among ``items`` of an input. Raise ``Problem`` 400 for one without its request.

    ``earlier``: items of the response that the request continues.
    """
    given: Sequence[Any] = items if isinstance(items, list) else ()
    asked = {str(one.get("id")): one for one in (*earlier, *given) if _has_type(one, "mcp_approval_request")}
    approved: list[ToolCall] = []
    declined: list[Mapping[str, Any]] = []
    for index, item in enumerate(given):
        if not _has_type(item, "mcp_approval_response"):
            continue
        call = _find_call(asked.get(str(item.get("approval_request_id"))), f"input[{index}]")
        if item.get("approve") is True:
            approved.append(call)
        else:
            declined += make_call_messages(call, make_content(_DECLINED))
    return Approvals(tuple(approved), tuple(declined))


def _has_type(item: Any, kind: str) -> bool:
    return isinstance(item, Mapping) and item.get("type") == kind


def _find_call(request: Mapping[str, Any] | None, where: str) -> ToolCall:
    """Return the call of a request for consent, under the request's id."""
    texts = [request.get(key) for key in ("id", "name", "arguments")] if request else [None]
    if not all(isinstance(text, str) for text in texts):
        hint = "send the item of type mcp_approval_request as well, or continue a stored response"
        raise bad_request("the request for this approval is not known", hint=hint, param=where)
    identifier, name, arguments = map(str, texts)
    return ToolCall(identifier, name, arguments)
