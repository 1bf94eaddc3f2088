"""Description of /api/markdown."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Reply, RequestBody, Schema, refer_to_schema
from agentsd.web.openapi.operations.service import GROUP
from agentsd.web.openapi.schemas.common import TEXT, make_list, make_object
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
            f"headings begin at `h3`. At most {MAX_BYTES >> 10} KiB; a text that is nested too deeply is "
            "returned unchanged."
        ),
        body=RequestBody(
            (MediaType(refer_to_schema("MarkdownText"), example={"text": "**Nine** to five."}),)
        ),
        replies=(Reply(200, "The tree.", (MediaType(refer_to_schema("Markdown")),)),),
        errors=(400, 413, 415),
    ),
)


def make_markdown_schemas() -> dict[str, Schema]:
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
        "MarkdownText": make_object("A text.", text={**TEXT, "maxLength": MAX_BYTES}),
        "Markdown": make_object("The tree of a text.", nodes=make_list(refer_to_schema("MarkdownNode"))),
        "MarkdownNode": {
            "description": "A text, or an element.",
            "anyOf": [TEXT, refer_to_schema("MarkdownElement")],
        },
        "MarkdownElement": make_object(
            "An element.",
            optional=("attrs",),
            tag={"type": "string", "enum": sorted(TAGS)},
            attrs=attrs,
            children=make_list(refer_to_schema("MarkdownNode")),
        ),
    }
