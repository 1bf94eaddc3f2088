"""Probes of an agent's real providers: one token, one spoken word, one second of sound, one vector.

Every provider is asked, fallbacks as well, without retries and limits: a probe shows the real
state, not what retries make up for. A failure is reported with its class and with what to do about
it.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, cast, runtime_checkable

from agentsd.core.errors import ProviderError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.base import (
    LLM,
    STT,
    TTS,
    Embedding,
    LiveAgent,
    ProviderAuthError,
    ProviderBroken,
    ProviderEmpty,
    ProviderForbidden,
    ProviderNotFound,
    ProviderProtocolError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
)
from agentsd.providers.tool import ProbedTool, ToolResult

PROBE_SECONDS = 30.0
"""Timeout of one provider."""

_REASONS: tuple[tuple[type[ProviderError], str, str], ...] = (
    (ProviderAuthError, "wrong-key", "put a valid key into {at}.api_key: agentsd edit {slug}"),
    (
        ProviderRateLimited,
        "rate-limited",
        "wait, or ask the vendor for a higher limit; {section}.fallback lets another answer meanwhile",
    ),
    (
        ProviderNotFound,
        "not-found",
        "correct the model or voice of {at}; if both exist, its URL and path are wrong",
    ),
    (
        ProviderForbidden,
        "forbidden",
        "correct the URL of {at}; AGENTSD_OUTBOUND lists what this machine may connect to",
    ),
    (
        ProviderTimeout,
        "timeout",
        "is the server up, and the model loaded? {at}.timeout_seconds allows more time",
    ),
    (
        ProviderUnreachable,
        "unreachable",
        "correct the URL of {at}; if it is right: is the server up, and reachable from here?",
    ),
    (
        ProviderProtocolError,
        "wrong-url",
        "the server at the URL of {at} uses another protocol: correct its URL and path",
    ),
    (ProviderEmpty, "silent", "the model or voice of {at} may be the wrong one"),
    (ProviderBroken, "broken", "report it to the author of this provider"),
    (ProviderRejected, "rejected", "the vendor refuses the settings of {at}: check each of its fields"),
    (ProviderError, "failed", "the vendor failed: try again later; {section}.fallback lets another answer"),
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of probing one provider. ``reason`` is a machine word; empty where all is well."""

    at: str  # "llm", "llm.fallback[0]"
    provider: str
    ok: bool
    seconds: float  # to the first token or sound, to the end of the transcript, to the vector
    message: str
    reason: str = ""
    fix: str = ""


@runtime_checkable
class ProviderChain(Protocol):
    """Provider with fallbacks behind it."""

    def each(self) -> tuple[tuple[str, Any], ...]:
        """Return (vendor's name, provider) of all that may answer, in order."""


class EmptyAnswer(Exception):
    """Error of a vendor that answered in good form, but without content."""


async def probe_agent(agent: LiveAgent) -> list[ProbeResult]:
    """Probe every provider of ``agent``, all at once, with one result each.

    Never raises for a vendor.
    """
    jobs = []
    for kind in SECTIONS:
        provider = getattr(agent, kind)
        if provider is None:
            continue
        name = agent.provider_names.get(kind, "?")
        each = provider.each() if isinstance(provider, ProviderChain) else ((name, provider),)
        for index, (vendor, one) in enumerate(each):
            at = f"{kind}.fallback[{index - 1}]" if index else kind
            jobs.append(_probe_provider(agent.slug, kind, at, vendor, one))
    found, tools = await asyncio.gather(asyncio.gather(*jobs), _probe_tools(agent))
    return [*found, *tools]


async def _probe_tools(agent: LiveAgent) -> list[ProbeResult]:
    """Probe the tools that can be tried without changing anything."""
    probed = [tool for tool in agent.tools if isinstance(tool, ProbedTool)]
    results = await asyncio.gather(*(_probe_tool(agent.slug, tool) for tool in probed))
    return [one for one in results if one is not None]


async def _probe_tool(slug: str, tool: ProbedTool) -> ProbeResult | None:
    name, began = tool.definition.name, perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            result = await tool.probe()
    except Exception as error:  # a bug of the tool's client; its text may contain a secret
        result = ToolResult("failed", f"the tool failed: {type(error).__name__}")
    if result is None:
        return None
    seconds, at = perf_counter() - began, f"tools.{name}"
    if result.ok:
        return ProbeResult(at, name, ok=True, seconds=seconds, message="it answers")
    reason = result.outcome.replace("_", "-")
    fix = f"check its address and key: agentsd edit {slug}; is the service up, and reachable from here?"
    return ProbeResult(
        at, name, ok=False, seconds=seconds, message=f"it does not work: {reason}", reason=reason, fix=fix
    )


async def _probe_provider(slug: str, section: str, at: str, vendor: str, provider: Any) -> ProbeResult:
    began = perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            seconds, message = await _PROBES[section](provider)
        return ProbeResult(at, vendor, ok=True, seconds=seconds, message=message)
    except ProviderError as error:
        _, reason, fix = next(row for row in _REASONS if isinstance(error, row[0]))
        said = error.message
    except TimeoutError:
        _, reason, fix = next(row for row in _REASONS if row[0] is ProviderTimeout)
        said = f"{vendor} did not answer in {PROBE_SECONDS:g} s"
    except EmptyAnswer as silent:
        reason, said = "silent", f"{vendor} {silent}"
        fix = "the model or voice of {at} may be the wrong one"
    except Exception as error:  # a bug of the vendor's client; its text may contain a secret
        reason, said = "broken", f"the client of {vendor} failed: {type(error).__name__}"
        fix = "report it to the author of this provider"
    fix = fix.format(at=at, section=section, slug=slug)
    return ProbeResult(
        at, vendor, ok=False, seconds=perf_counter() - began, message=said, reason=reason, fix=fix
    )


async def _probe_llm(llm: LLM) -> tuple[float, str]:
    request = {"messages": [{"role": "user", "content": "Say: yes"}], "max_tokens": 16}
    began = perf_counter()
    stream = cast("Any", llm.stream(request))
    async with aclosing(stream):
        async for chunk in stream:
            if _has_content(chunk):
                return perf_counter() - began, "it writes"
    raise EmptyAnswer("answered without text")


def _has_content(chunk: Mapping[str, Any]) -> bool:
    """Return whether the chunk has text, or anything that thinking models send before it."""
    deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or () if isinstance(choice, dict)]
    return any(value for delta in deltas for key, value in delta.items() if key != "role")


async def _probe_tts(tts: TTS) -> tuple[float, str]:
    began, first, size = perf_counter(), 0.0, 0
    stream = cast("Any", tts.stream(_yield_once("Yes.")))
    async with aclosing(stream):
        async for pcm in stream:
            first = first or perf_counter() - began
            size += len(pcm)
    if not size:
        raise EmptyAnswer("returned no audio")
    return first, f"it speaks: {size / 2 / tts.sample_rate:.1f} s of sound at {tts.sample_rate} Hz"


async def _probe_stt(stt: STT) -> tuple[float, str]:
    began = perf_counter()
    stream = cast("Any", stt.stream(_generate_tone(stt.sample_rate)))
    async with aclosing(stream):
        async for _ in stream:
            continue
    return perf_counter() - began, "it listens"


async def _probe_embedding(embedding: Embedding) -> tuple[float, str]:
    began = perf_counter()
    (vector,) = await embedding.embed(["yes"])
    if not vector:
        raise EmptyAnswer("answered with an empty vector")
    return perf_counter() - began, f"it embeds: {len(vector)} dimensions"


async def _yield_once(text: str) -> AsyncIterator[str]:
    yield text


async def _generate_tone(rate: int) -> AsyncIterator[bytes]:
    """Yield a second of a soft 440 Hz tone, in tenths."""
    for tenth in range(10):
        start = tenth * rate // 10
        samples = range(start, start + rate // 10)
        yield array("h", (int(3000 * math.sin(2 * math.pi * 440 * n / rate)) for n in samples)).tobytes()


_PROBES: Mapping[str, Callable[[Any], Awaitable[tuple[float, str]]]] = {
    "llm": _probe_llm,
    "tts": _probe_tts,
    "stt": _probe_stt,
    "embedding": _probe_embedding,
}
