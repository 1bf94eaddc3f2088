"""Chat completions of an agent. Over the protocol ``LLM`` only; vendors are unknown here.

The agent's ``system_prompt`` comes first, before any system message of the client; the
vendor's client adds the manifest's sampling defaults; ``model`` in replies is the agent's slug.
Nothing of a conversation is logged or put into an error.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from agentsd.core.errors import AgentUnavailable, InvalidChat
from agentsd.core.names import quote_word
from agentsd.core.text.messages import join_system, split_leading_system
from agentsd.providers.base import LLM, LiveAgent
from agentsd.services.tools.events import EVENT_KEY
from agentsd.services.tools.offer import make_offer
from agentsd.services.tools.rounds import open_rounds
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.variables import bind_agent, drop_values
from agentsd.system.identifier import make_identifier

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
PASSED_FIELDS = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction",
        "presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier",
        "seed", "stop", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
        "user", "verbosity",
        # of vLLM, SGLang, llama.cpp's server, OpenRouter and others of the family
        "add_generation_prompt", "bad_words", "cache_prompt", "chat_template_kwargs",
        "continue_final_message", "dry_multiplier", "enable_thinking", "grammar", "guided_choice",
        "guided_grammar", "guided_json", "guided_regex", "ignore_eos", "include_reasoning", "length_penalty",
        "min_p", "min_tokens", "mirostat", "mirostat_eta", "mirostat_tau", "prefix", "reasoning",
        "reasoning_format", "reasoning_split", "repeat_penalty", "repetition_penalty", "safe_prompt",
        "skip_special_tokens", "stop_token_ids", "structured_outputs", "thinking", "thinking_budget",
        "top_a", "top_k", "typical_p",
    }
)  # fmt: skip
"""Request keys that are passed to the vendor unchanged."""

OWN_FIELDS = frozenset({"messages", "metadata", "model", "stream"})
"""Request keys that are read here. A vendor gets ``metadata`` only together with ``store``."""

LISTED_FIELDS = frozenset({"service_tier", "store", "web_search_options"})
"""Request keys that keep data or cost more: passed only where the manifest lists them."""

DEFAULT_VALUES: Mapping[str, tuple[object, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
}
"""Values of ``LISTED_FIELDS`` that ask for nothing: they need no entry, and are not passed on."""


async def complete_chat(
    agent: LiveAgent, body: Mapping[str, Any], tools: ToolTurn | None = None
) -> dict[str, Any]:
    """Return one whole ``chat.completion``. ``body`` is that of ``/v1/chat/completions``.

    Tools of the agent are run on the way; ``tools`` then contains what happened. An answer that was handed
    over is only the first agent's part (``services.handover``). Raises ``InvalidChat``,
    ``AgentUnavailable`` and ``ProviderError``.
    """
    llm, agent = _require_llm(agent), bind_agent(agent, body.get("metadata"))
    request = _make_request(agent, body, stream=False)
    rounds = open_rounds(agent, llm, request, tools) if _has_tools(agent, tools) else None
    answer = await (rounds.complete() if rounds else llm.complete(request))
    return _rename_reply(answer, agent.slug, _make_completion_id(), int(time.time()), "chat.completion")


def stream_chat(
    agent: LiveAgent, body: Mapping[str, Any], tools: ToolTurn | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield ``chat.completion.chunk`` objects as they come; closing the iterator closes the vendor's.

    Where the agent has tools, there are chunks that carry an event of one, too (``services.tools.events``).
    ``InvalidChat`` and ``AgentUnavailable`` are raised here, before the first chunk is asked
    for; ``ProviderError`` may come at any chunk.
    """
    llm, agent = _require_llm(agent), bind_agent(agent, body.get("metadata"))
    request = _make_request(agent, body, stream=True)
    asked = request.get("stream_options") or {}
    request["stream_options"] = {**asked, "include_usage": True}  # the ledger counts every answer
    rounds = open_rounds(agent, llm, request, tools) if _has_tools(agent, tools) else None
    upstream = rounds.stream() if rounds else llm.stream(request)
    return _stream_chunks(upstream, agent.slug, wants_usage=bool(asked.get("include_usage")))


async def _stream_chunks(
    source: AsyncIterator[dict[str, Any]], slug: str, *, wants_usage: bool
) -> AsyncGenerator[dict[str, Any], None]:
    own_id, created = _make_completion_id(), int(time.time())
    upstream = cast("AsyncGenerator[dict[str, Any], None]", source)
    async with aclosing(upstream):
        async for chunk in upstream:
            # without choices it is an event, or usage, which is sent on request only
            if chunk.get("choices") or wants_usage or EVENT_KEY in chunk:
                yield _rename_reply(chunk, slug, own_id, created, "chat.completion.chunk")


def check_request(agent: LiveAgent, body: Mapping[str, Any]) -> None:
    """Raise what ``stream_chat`` raises at once, for a request that is made later."""
    _require_llm(agent)
    make_offer(agent.tools, _make_request(agent, body, stream=True))


def _has_tools(agent: LiveAgent, tools: ToolTurn | None) -> bool:
    """Return whether a turn may have several rounds."""
    return bool(agent.tools) or (tools is not None and tools.switch is not None)


def _require_llm(agent: LiveAgent) -> LLM:
    if agent.llm is None:
        raise AgentUnavailable(
            f"agent {agent.slug!r} has no LLM", reason="NoLLM", hint="add an llm section to its manifest"
        )
    return agent.llm


def _make_request(agent: LiveAgent, body: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    request = {
        key: value for key, value in body.items() if value is not None and _is_passed(agent, key, value)
    }
    if request.get("store") and (metadata := drop_values(body.get("metadata"))):
        request["metadata"] = metadata
    if not stream:
        request.pop("stream_options", None)
    elif "stream_options" in request:
        _take_own_options(request)
    messages = _check_messages(body.get("messages"))
    prompt = agent.spec.system_prompt
    if prompt:
        messages = [{"role": "system", "content": prompt}, *messages]
    system, rest = split_leading_system(messages)
    request["messages"] = [*join_system(system), *rest]
    return request


def _take_own_options(request: dict[str, Any]) -> None:
    """Remove what is read here from ``stream_options``: ``include_tools`` asks for the calls of tools."""
    options = request["stream_options"]
    if not isinstance(options, Mapping):
        raise InvalidChat("stream_options must be an object", param="stream_options")
    if "include_tools" in options:
        passed = {key: value for key, value in options.items() if key != "include_tools"}
        request["stream_options"] = passed
        if not passed:
            del request["stream_options"]


def _is_passed(agent: LiveAgent, key: str, value: object) -> bool:
    """Return whether a request key goes to the vendor. Raises ``InvalidChat`` for one that may not."""
    if key in PASSED_FIELDS or key in agent.client_options:
        return key not in OWN_FIELDS
    if key in OWN_FIELDS or value in DEFAULT_VALUES.get(key, ()):
        return False
    shown = quote_word(key, "a request field")
    message = f"{shown} is not passed on to this agent's vendor"
    hint = "remove it, or list it in llm.client_options of the agent's manifest"
    raise InvalidChat(message, param=shown, hint=hint)


def _check_messages(messages: Any) -> list[Any]:
    if not isinstance(messages, list) or not messages:
        raise InvalidChat("messages must be a list of at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or _check_role(message) not in ROLES:
            hint = "every message is an object with a role: system, user, assistant or tool"
            raise InvalidChat("a message has no known role", param=f"messages[{index}].role", hint=hint)
    return messages


def _check_role(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    return role if isinstance(role, str) else ""


def _rename_reply(answer: dict[str, Any], slug: str, own_id: str, created: int, kind: str) -> dict[str, Any]:
    """Put the agent's name into the vendor's answer, with what OpenAI's clients require.

    The identifier is made here: a vendor's may be any text.
    """
    return {"id": own_id, "created": created, **answer, "model": slug, "object": kind}


def _make_completion_id() -> str:
    return make_identifier("chatcmpl", "-")
