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
from agentsd.core.ledger.failure import format_fix
from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.base import LLM, STT, TTS, Embedding, LiveAgent
from agentsd.providers.tool import ProbedTool, ToolResult
from agentsd.services.failures import describe_failure, find_reason
from agentsd.services.turn_records.record import TurnFailure

PROBE_SECONDS = 30.0
"""Timeout of one provider."""


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
    code: str | None = None  # OpenAI's, where one fits

    @property
    def failure(self) -> TurnFailure | None:
        """Return the failure as a value; None where all is well."""
        if self.ok:
            return None
        return TurnFailure(self.at.partition(".")[0], self.provider, self.reason, self.code)


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
            jobs.append(probe_section(agent.slug, at, vendor, one))
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


async def probe_section(slug: str, at: str, vendor: str, provider: Any) -> ProbeResult:
    """Probe the provider ``at`` a place of agent ``slug``, such as ``llm.fallback[0]``. Never raises."""
    began, code, section = perf_counter(), None, at.partition(".")[0]
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            seconds, message = await _PROBES[section](provider)
        return ProbeResult(at, vendor, ok=True, seconds=seconds, message=message)
    except ProviderError as error:
        error.kind, error.vendor = section, vendor
        failure = describe_failure(error)
        reason, said, code = find_reason(error), error.message, failure.code if failure else None
    except TimeoutError:
        reason, said = "timeout", f"{vendor} did not answer in {PROBE_SECONDS:g} s"
    except EmptyAnswer as silent:
        reason, said = "silent", f"{vendor} {silent}"
    except Exception as error:  # a bug of the vendor's client; its text may contain a secret
        reason, said = "broken", f"the client of {vendor} failed: {type(error).__name__}"
    return ProbeResult(
        at,
        vendor,
        ok=False,
        seconds=perf_counter() - began,
        message=said,
        reason=reason,
        fix=format_fix(reason, at, slug),
        code=code,
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
