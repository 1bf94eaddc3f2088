"""Answers of MCP tools, reduced to the text that a model reads. Imports ``mcp_types``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mcp_types import (
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
)


@dataclass(frozen=True, slots=True)
class McpAnswer:
    """Answer of a tool; ``is_error``: the tool itself reports that it failed."""

    text: str
    is_error: bool = False


def read_answer(result: CallToolResult) -> McpAnswer:
    """Return the text of ``result``: its texts, else its structured content as JSON."""
    texts = [_read_block(block) for block in result.content]
    if not any(texts) and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))]
    return McpAnswer("\n".join(text for text in texts if text), result.is_error)


def _read_block(block: ContentBlock) -> str:
    """Return the text of one block; of an image or a sound, that there is one."""
    match block:
        case TextContent():
            return block.text
        case EmbeddedResource(resource=TextResourceContents() as inner):
            return inner.text
        case ResourceLink():
            return f"[a link: {block.uri}]"
        case _:
            return f"[{block.type}, which is not shown]"
