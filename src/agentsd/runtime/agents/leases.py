"""Leases: holds on builds, and the closing of providers that are not held.

A ``SharedProvider`` is one provider. It is shared by all the builds of one agent whose settings for
that kind are equal, so an edited ``tts`` keeps the very same LLM client and its warm connections. A
``BuiltAgent`` is one agent, ready to run, holding its providers. The snapshot holds a
``BuiltAgent`` and so does every lease; with the last hold gone it returns its providers, and a
provider with no holder left is closed, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol
from uuid import UUID

from agentsd.core.manifest.tool_lock import ToolSettings
from agentsd.core.names import DEFAULT_OWNER
from agentsd.providers.base import LiveAgent, Provider
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.tool import Tool, ToolSource
from agentsd.telemetry import Metrics

CLOSE_TIMEOUT = 30.0
"""Timeout of closing one provider."""

TOOLS = "tools"
"""Kind of the sources of tools."""

_log = logging.getLogger(__name__)

SharedSettings = ProviderSettings | ToolSettings
"""Settings that a shared provider is built from: a section's, or those of an entry of ``tools``."""

Shared = Provider | ToolSource
"""Provider, or the source of the tools of one entry."""


class SharedProvider:
    """Provider with the number of builds that hold it."""

    __slots__ = ("agent", "holders", "kind", "owner", "provider", "settings")

    def __init__(
        self, agent: UUID, owner: str, kind: str, settings: SharedSettings, provider: Shared
    ) -> None:
        self.agent = agent
        self.owner = owner
        self.kind = kind
        self.settings = settings
        self.provider = provider
        self.holders = 0


class ProviderPool:
    """Pool of every open provider of a process."""

    def __init__(self, build: Callable[[str, Any, str], Shared], metrics: Metrics) -> None:
        self._build = build
        self._metrics = metrics
        self._open: dict[tuple[UUID, str], list[SharedProvider]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._built: set[BuiltAgent] = set()
        self._drained = asyncio.Event()
        self._drained.set()

    def take(self, agent: UUID, kind: str, settings: SharedSettings, owner: str) -> SharedProvider:
        """Return ``agent``'s provider with exactly these settings; build it if there is none.

        A provider built for another owner is not reused: its connections belong to that owner. Raises what
        the vendor's constructor raises; then nothing is held.
        """
        boxes = self._open.get((agent, kind), ())
        box = next((box for box in boxes if box.owner == owner and box.settings == settings), None)
        if box is None:
            box = SharedProvider(agent, owner, kind, settings, self._build(kind, settings, owner))
            self._open.setdefault((agent, kind), []).append(box)
            self._metrics.providers.labels(kind).inc()
        box.holders += 1
        return box

    def take_all(
        self, agent: UUID, settings: Mapping[str, SharedSettings], owner: str = DEFAULT_OWNER
    ) -> dict[str, SharedProvider]:
        """Return one provider for every place in ``settings``: all of them, or (with the error) none.

        A place is a kind, or ``tools[0]``.
        """
        boxes: dict[str, SharedProvider] = {}
        try:
            for place, section in settings.items():
                boxes[place] = self.take(agent, place.partition("[")[0], section, owner)
        except BaseException:
            self.give_back(boxes)
            raise
        return boxes

    def give_back(self, boxes: Mapping[str, SharedProvider]) -> None:
        """Release ``boxes``; those without another holder are closed in the background."""
        for box in boxes.values():
            box.holders -= 1
            if box.holders == 0:
                self._forget(box)
                task = asyncio.ensure_future(self._close(box))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def enter(self, built: BuiltAgent) -> None:
        """Record that ``built`` holds providers from now on."""
        self._built.add(built)
        self._drained.clear()

    def leave(self, built: BuiltAgent) -> None:
        """Record that ``built`` holds no providers any more."""
        self._built.discard(built)
        if not self._built:
            self._drained.set()

    async def aclose(self, drain_s: float) -> int:
        """Wait up to ``drain_s`` seconds until nothing is held, then close every provider.

        Return how many builds were still held.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._drained.wait()
        held = list(self._built)
        for built in held:
            built.free()
        while self._closing:
            await asyncio.wait(self._closing)
        return len(held)

    def _forget(self, box: SharedProvider) -> None:
        key = (box.agent, box.kind)
        left = [other for other in self._open[key] if other is not box]
        if left:
            self._open[key] = left
        else:
            del self._open[key]

    async def _close(self, box: SharedProvider) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await box.provider.aclose()
        except Exception as error:
            self._metrics.close_failures.inc()
            _log.warning(
                "a provider failed to close",
                extra={"kind": box.kind, "provider": _name_provider(box), "error": type(error).__name__},
            )
        finally:
            self._metrics.providers.labels(box.kind).dec()


class BuiltAgent:
    """Agent that is ready to run, with the count of its holders. Made with one hold, its maker's."""

    __slots__ = ("_boxes", "_pool", "_timer", "agent", "holders")

    def __init__(self, agent: LiveAgent, boxes: Mapping[str, SharedProvider], pool: ProviderPool) -> None:
        self.agent = agent
        self.holders = 1
        self._boxes: Mapping[str, SharedProvider] | None = boxes
        self._pool = pool
        self._timer: asyncio.TimerHandle | None = None
        pool.enter(self)

    @property
    def leased(self) -> bool:
        """Return whether anyone but the snapshot holds it."""
        return self.holders > 1

    def renamed(self, slug: str, owner: str) -> BuiltAgent | None:
        """Return the same providers and document for an agent with a new name; None once freed."""
        if self._boxes is None:
            return None
        for box in self._boxes.values():
            box.holders += 1
        return BuiltAgent(replace(self.agent, slug=slug, owner=owner), self._boxes, self._pool)

    def hold(self) -> None:
        """Add one holder."""
        self.holders += 1

    def release(self) -> None:
        """Remove one holder; the last one closes providers without another holder."""
        self.holders -= 1
        if self.holders == 0:
            self.free()

    def retire(self, drain_s: float, expired: Callable[[], None]) -> None:
        """Release the snapshot's hold. Leases may go on for ``drain_s`` seconds; then the build is freed."""
        self.release()
        if self.holders:
            self._timer = asyncio.get_running_loop().call_later(drain_s, self._expire, expired)

    def free(self) -> None:
        """Release the providers, whoever still holds this build. Doing it twice does nothing."""
        boxes, self._boxes = self._boxes, None
        self._pool.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        if boxes is not None:
            self._pool.give_back(boxes)

    def _expire(self, expired: Callable[[], None]) -> None:
        expired()
        self.free()


class LeaseSource(Protocol):
    """Provider of builds for leases."""

    async def acquire(self, ref: str) -> BuiltAgent:
        """Return a build with one more hold on it."""

    def ended(self, built: BuiltAgent) -> None:
        """Record that a lease on ``built`` ended."""


class Lease:
    """Hold on one build: ``async with registry.lease(ref) as agent``."""

    __slots__ = ("_built", "_ref", "_source")

    def __init__(self, source: LeaseSource, ref: str) -> None:
        self._source = source
        self._ref = ref
        self._built: BuiltAgent | None = None

    async def __aenter__(self) -> LiveAgent:
        self._built = await self._source.acquire(self._ref)
        return self._built.agent

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        built, self._built = self._built, None
        if built is not None:
            self._source.ended(built)


def make_live_agent(fields: Mapping[str, Any], boxes: Mapping[str, SharedProvider]) -> LiveAgent:
    """Make a ``LiveAgent`` of ``fields`` with the providers and tools in ``boxes``."""
    providers: dict[str, Any] = {place: box.provider for place, box in boxes.items() if box.kind == place}
    tools = tuple(tool for box in boxes.values() if box.kind == TOOLS for tool in _list_tools(box.provider))
    charges = frozenset(place for place in providers if _has_key(boxes[place]))
    return LiveAgent(**fields, **providers, tools=tools, charges=charges)


def list_tool_settings(entries: Iterable[ToolSettings]) -> dict[str, SharedSettings]:
    """Return the entries of ``tools`` by their places: ``tools[0]``."""
    return {f"{TOOLS}[{index}]": entry for index, entry in enumerate(entries)}


def _has_key(box: SharedProvider) -> bool:
    return isinstance(box.settings, ProviderSettings) and box.settings.has_secret()


def _list_tools(source: Any) -> tuple[Tool, ...]:
    tools: tuple[Tool, ...] = source.tools
    return tools


def _name_provider(box: SharedProvider) -> str:
    return str(getattr(box.settings, "provider", box.kind))
