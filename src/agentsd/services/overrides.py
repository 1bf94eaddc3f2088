"""Overrides: which parts of an agent its manifest leaves to clients (``overrides``). Pure.

Without the section clients change whatever the interfaces have, as ever. With it, a field of a request that
belongs to another part is refused by name, unless it asks for what the agent has anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.errors import OverrideRefused
from agentsd.core.manifest.agent import AgentHead
from agentsd.core.manifest.handoff import Override
from agentsd.providers.base import LiveAgent
from agentsd.providers.options import is_language

SAMPLING_FIELDS = frozenset(
    {
        "dry_multiplier", "frequency_penalty", "length_penalty", "logit_bias", "min_p", "mirostat",
        "mirostat_eta", "mirostat_tau", "presence_penalty", "repeat_penalty", "repetition_penalty", "seed",
        "temperature", "top_a", "top_k", "top_p", "typical_p",
    }
)  # fmt: skip
"""Request keys of the part ``temperature``: how the next word is drawn."""

LENGTH_FIELDS = frozenset(
    {"best_of", "ignore_eos", "max_completion_tokens", "max_output_tokens", "max_tokens", "min_tokens", "n"}
)
"""Request keys of the part ``max_tokens``: how much is written."""

TOOL_FIELDS = frozenset(
    {"function_call", "functions", "parallel_tool_calls", "tool_choice", "tools", "web_search_options"}
)
"""Request keys of the part ``tools``."""

PARTS: Mapping[str, Override] = {
    **dict.fromkeys(SAMPLING_FIELDS, "temperature"),
    **dict.fromkeys(LENGTH_FIELDS, "max_tokens"),
    **dict.fromkeys(TOOL_FIELDS, "tools"),
}
"""Part of an agent that a request key changes; other keys are not held to ``overrides``."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "top_p": (1,),
    "n": (1,),
    "best_of": (1,),
    "ignore_eos": (False,),
    "tools": ([], ()),
    "functions": ([],),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "speed": (1,),
}
"""Values that clients send as their defaults: they ask for nothing."""

_SAME = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"}

_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True)
class OverridePolicy:
    """Policy of one agent: what clients may change (``allowed`` None: everything), and what it has itself."""

    allowed: frozenset[str] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    language: str | None = None

    @classmethod
    def of(cls, agent: LiveAgent) -> OverridePolicy:
        """Return the policy of a leased agent."""
        return cls.of_head(agent.spec, agent.own_settings)

    @classmethod
    def of_head(cls, head: AgentHead, own: Mapping[str, Any]) -> OverridePolicy:
        """Return the policy of a manifest. ``own``: what its sections have, by OpenAI's names."""
        allowed = None if head.overrides is None else frozenset(head.overrides)
        return cls(allowed, own, head.system_prompt, head.language)

    def allows(self, part: Override) -> bool:
        """Return whether clients may change this part."""
        return self.allowed is None or part in self.allowed

    def accepts(self, name: str, value: object) -> bool:
        """Return whether a field of a request may have this value. Fields of no part may."""
        part = PARTS.get(name)
        if part is None or value is None or self.allows(part):
            return True
        return self.has_own(name, value)

    def has_own(self, name: str, value: object) -> bool:
        """Return whether a value is the agent's own, or asks for nothing."""
        own = self.own.get(_SAME.get(name, name))
        return value == own if own is not None else value in _NEUTRAL.get(name, ())

    def accepts_instructions(self, content: object) -> bool:
        """Return whether a system message may have this content."""
        return self.allows("instructions") or self.repeats_prompt(content)

    def repeats_prompt(self, content: object) -> bool:
        """Return whether a system message has nothing, or what the agent is told anyway."""
        return _read_text(content).strip() in ("", self.prompt.strip())

    def accepts_language(self, language: str | None) -> bool:
        """Return whether a request may name this language."""
        return not language or self.allows("language") or is_language(language, self.language)


def apply_overrides(
    agent: LiveAgent,
    body: Mapping[str, Any],
    *,
    renames: Mapping[str, str] | None = None,
    name_message: Callable[[int], str] = "messages[{}]".format,
) -> Mapping[str, Any]:
    """Return the chat ``body`` without what repeats the agent's prompt. Raises ``OverrideRefused``.

    ``renames``: names of fields in the client's own request; ``name_message``: of a message, by its index.
    """
    if agent.spec.overrides is None:
        return body
    policy = OverridePolicy.of(agent)
    for name, value in body.items():
        if not policy.accepts(name, value):
            raise refuse_override((renames or {}).get(name, name), PARTS[name])
    if policy.allows("instructions"):
        return body
    messages = body.get("messages")
    listed = messages if isinstance(messages, list) else []
    for index, _ in _find_refused_messages(policy, listed):
        raise refuse_override(name_message(index), "instructions")
    return {**body, "messages": [one for one in listed if not _is_system(one)]} if listed else body


def restrict_body(agent: LiveAgent, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat ``body`` as far as ``agent`` leaves it to clients: for one that takes over.

    The client asked another agent, which allowed it.
    """
    policy = OverridePolicy.of(agent)
    kept = {name: value for name, value in body.items() if policy.accepts(name, value)}
    if not policy.allows("instructions") and isinstance(kept.get("messages"), list):
        kept["messages"] = [one for one in kept["messages"] if not _is_system(one)]
    return kept


def refuse_override(param: str, part: Override) -> OverrideRefused:
    """Return the error for a field that changes what the manifest does not leave to clients."""
    hint = f"leave it out; the agent's manifest may list {part} in overrides"
    return OverrideRefused(f"{param}: this agent does not let clients change {part}", param=param, hint=hint)


def _find_refused_messages(policy: OverridePolicy, messages: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    for index, one in enumerate(messages):
        if _is_system(one) and not policy.repeats_prompt(one.get("content")):
            yield index, one


def _is_system(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") in _SYSTEM


def _read_text(content: object) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))
