"""Description of /api/markdown."""

from __future__ import annotations

from agentsd.web.openapi.model import Body, Content, Operation, Reply, Schema, ref
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import TEXT, listed, thing
from agentsd.web.views.markdown_tree import MAX_BYTES, TAGS

OPERATIONS = (
    Operation(
        id="renderMarkdown",
        method="POST",
        path="/api/markdown",
        group=GROUP,
        summary="Markdown as a tree of harmless elements",
        description=(
            "CommonMark with tables and strikethrough, for pages that build elements and parse no HTML: HTML "
            "in the text stays text, links lead to http, https and mailto only, images become links, and "
            f"headings begin at `h3`. At most {MAX_BYTES >> 10} KiB; a text that is nested too deeply comes "
            "back as it is."
        ),
        body=Body((Content(ref("MarkdownText"), example={"text": "**Nine** to five."}),)),
        replies=(Reply(200, "The tree.", (Content(ref("Markdown")),)),),
        errors=(400, 413, 415),
    ),
)


def markdown() -> dict[str, Schema]:
    """Return the components of Markdown."""
    attrs = {
        "type": "object",
        "description": "`href` of `a`, `start` of `ol`, `class` of `th` and `td`: `left`, `center`, `right`.",
        "properties": {
            "href": TEXT,
            "start": {"type": "integer"},
            "class": {"type": "string", "enum": ["left", "center", "right"]},
        },
        "additionalProperties": False,
    }
    return {
        "MarkdownText": thing("A text.", text={**TEXT, "maxLength": MAX_BYTES}),
        "Markdown": thing("What it looks like.", nodes=listed(ref("MarkdownNode"))),
        "MarkdownNode": {
            "description": "A text, or an element.",
            "anyOf": [TEXT, ref("MarkdownElement")],
        },
        "MarkdownElement": thing(
            "An element.",
            optional=("attrs",),
            tag={"type": "string", "enum": sorted(TAGS)},
            attrs=attrs,
            children=listed(ref("MarkdownNode")),
        ),
    }
