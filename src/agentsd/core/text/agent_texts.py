"""Texts of an agent with ``variables``: where they are, compiled once, and filled for a session. Pure.

An agent without ``variables`` has no templates: its texts stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.manifest.agent import AgentHead
from agentsd.core.manifest.variables import Value, Variable, format_value
from agentsd.core.text.template import Template, parse_template
from agentsd.core.violations import Pointer

_SAYINGS: Sequence[Pointer] = (("greeting",), ("turn", "idle", "say"), ("on_error", "say"))


def iter_template_texts(value: Mapping[str, Any]) -> Iterator[tuple[Pointer, str]]:
    """Yield the texts of a manifest that may contain placeholders, with their pointers."""
    for pointer in (("system_prompt",), *_SAYINGS):
        node: Any = value
        for part in pointer:
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, str):
            yield pointer, node
    for index, one in enumerate(_read_list(value.get("handoff"))):
        if isinstance(one.get("say"), str):
            yield ("handoff", index, "say"), one["say"]
    for index, tool in enumerate(_read_list(value.get("tools"))):  # their requests have rules of their own
        if isinstance(tool.get("say"), str):
            yield ("tools", index, "say"), tool["say"]


def _read_list(value: object) -> list[Mapping[str, Any]]:
    return [one if isinstance(one, Mapping) else {} for one in value] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class AgentTexts:
    """Templates of one agent, with what its variables are where a session brings none."""

    declared: Mapping[str, Variable]
    defaults: Mapping[str, Value]
    system_prompt: Template
    greeting: Template
    idle: Template | None = None
    on_error: Template | None = None
    handoffs: tuple[Template, ...] = field(default=())


def compile_texts(head: AgentHead) -> AgentTexts | None:
    """Return the templates of an agent; None where it declares no variables. Raises ``InvalidTemplate``."""
    declared = head.variables
    if not declared:
        return None

    def parse(text: str) -> Template:
        return parse_template(text, declared)

    return AgentTexts(
        declared,
        {name: one.default for name, one in declared.items() if one.default is not None},
        parse(head.system_prompt),
        parse(head.greeting),
        parse(head.turn.idle.say) if head.turn.idle else None,
        parse(head.on_error.say) if head.on_error else None,
        tuple(parse(one.say) for one in head.handoff),
    )


def format_values(texts: AgentTexts, values: Mapping[str, Value]) -> dict[str, str]:
    """Return every variable that has a value, as it stands in texts."""
    return {name: format_value(value) for name, value in {**texts.defaults, **values}.items()}


def fill_head(head: AgentHead, texts: AgentTexts, values: Mapping[str, str]) -> AgentHead:
    """Return ``head`` with its texts filled in; ``values`` has every variable."""
    changes: dict[str, Any] = {
        "system_prompt": texts.system_prompt.render(values),
        "greeting": texts.greeting.render(values),
    }
    if texts.idle is not None and head.turn.idle is not None:
        idle = head.turn.idle.model_copy(update={"say": texts.idle.render(values)})
        changes["turn"] = head.turn.model_copy(update={"idle": idle})
    if texts.on_error is not None and head.on_error is not None:
        changes["on_error"] = head.on_error.model_copy(update={"say": texts.on_error.render(values)})
    if texts.handoffs:
        changes["handoff"] = [
            one.model_copy(update={"say": say.render(values)})
            for one, say in zip(head.handoff, texts.handoffs, strict=True)
        ]
    return head.model_copy(update=changes)
