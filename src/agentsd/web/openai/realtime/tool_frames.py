"""Frames of the calls that this server runs, taken out for clients that do not know items of that kind."""

from __future__ import annotations

from collections.abc import Mapping

from agentsd.web.openai.realtime.items import Frame

_ITEMS = ("mcp_call", "mcp_approval_request", "mcp_approval_response")


def hide_server_tools(frame: Frame) -> Frame | None:
    """Return a frame without calls that this server runs; None where it is about nothing else."""
    if frame["type"].startswith("response.mcp_call") or _is_hidden(frame.get("item")):
        return None
    response = frame.get("response")
    if response is None or not any(map(_is_hidden, response["output"])):
        return frame
    output = [item for item in response["output"] if not _is_hidden(item)]
    return {**frame, "response": {**response, "output": output}}


def _is_hidden(item: Mapping[str, object] | None) -> bool:
    return item is not None and item.get("type") in _ITEMS
