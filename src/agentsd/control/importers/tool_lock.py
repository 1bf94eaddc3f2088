"""Locks of MCP tools: what the servers of manifests offer now, as files for a review."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from agentsd.core.errors import InvalidManifests, ToolsUnknown
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.layers import merge_layers
from agentsd.core.manifest.tool_checks import find_misdirected_tokens
from agentsd.core.manifest.tool_lock import (
    LOCK_VERSION,
    PinnedServer,
    PinnedTool,
    ServerTool,
    ToolLock,
    choose_alias,
    dump_tool,
    make_lock_path,
    parse_lock,
)
from agentsd.core.manifest.tools import McpTools, ToolEntries
from agentsd.core.trust.rules import DestinationsOf
from agentsd.files.tree import Tree
from agentsd.files.yaml.emitter import dump_value
from agentsd.providers.tools.mcp_source import McpToolSource
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.sops.opener import Opener

HEADER = (
    "# Written by `agentsd tools lock`. Review it like code: models read what is here, and nothing else.\n"
)

_ENTRIES: TypeAdapter[ToolEntries] = TypeAdapter(ToolEntries)


@dataclass(frozen=True, slots=True)
class NamedServer:
    """MCP server that a manifest names, opened."""

    manifest: str  # its path in the tree
    entry: McpTools = field(repr=False)

    @property
    def url(self) -> str:
        """Return the server's address."""
        return self.entry.mcp.url

    @property
    def lock(self) -> str:
        """Return the path of its lock."""
        return make_lock_path(self.manifest, self.entry.mcp.lock)


@dataclass(frozen=True, slots=True)
class LockDraft:
    """Lock as it is, and as it would be."""

    path: str
    before: str | None  # None: there is no such file
    after: str


async def open_servers(
    tree: Tree,
    paths: Iterable[str],
    opener: Opener,
    destinations: DestinationsOf,
    trusted: frozenset[str],
) -> list[NamedServer]:
    """Return the MCP servers that the manifests at ``paths`` name.

    Opens those whose server has a key. Raises ``InvalidManifests`` and ``SealError``.
    """
    found: list[NamedServer] = []
    for path in paths:
        layers = [parse_document(one.path, one.data) for one in tree.beside.layers_of(path)]
        document = merge_layers(parse_document(path, tree.files[path].data), layers, destinations)
        found += [NamedServer(path, entry) for entry in await _open_entries(document, opener, trusted)]
    return found


async def _open_entries(document: Document, opener: Opener, trusted: frozenset[str]) -> list[McpTools]:
    tools = document.value.get("tools")
    listed = [one for one in tools if "mcp" in one] if isinstance(tools, list) else []
    if not listed:
        return []
    value = document.value
    if any("auth_token" in one["mcp"] for one in listed):
        opened = await opener.open_surely(document)
        value = opened.value
        wrong = next(find_misdirected_tokens(value, opened.sealed, trusted), None)
        if wrong is not None:
            violation = document.violation(wrong.pointer, "secret-destination", wrong.message, wrong.hint)
            raise InvalidManifests([violation])
    try:
        entries = _ENTRIES.validate_python([one for one in value["tools"] if "mcp" in one])
    except ValidationError:
        violation = document.violation(
            ("tools",), "schema", "the tools do not fit the schema", "run: agentsd validate"
        )
        raise InvalidManifests([violation]) from None
    return [one for one in entries if isinstance(one, McpTools)]


async def list_server(sessions: HttpSessions, server: NamedServer) -> dict[str, ServerTool]:
    """Return the tools that a server offers now, by name. Raises ``McpFailure`` and ``ProviderError``."""
    source = McpToolSource(PinnedServer(server.entry, ()), sessions)
    try:
        return {one.name: one for one in await source.connection.list_tools()}
    finally:
        await source.aclose()


def draft_locks(
    tree: Tree, servers: Sequence[NamedServer], offers: Mapping[int, Mapping[str, ServerTool]]
) -> list[LockDraft]:
    """Return each lock with what its servers offer now; ``offers``: by the index in ``servers``.

    What other manifests pin in the same file stays. Raises ``ToolsUnknown`` for an allowed tool that its
    server does not offer, or describes in a way that no lock can have.
    """
    drafts = []
    for path in sorted({one.lock for one in servers}):
        mine = [(one, offers[index]) for index, one in enumerate(servers) if one.lock == path]
        file = tree.beside.files.get(path)
        before = None if file is None else file.data.decode(errors="replace")
        after = format_lock(_renew_lock(_read_lock(path, before), mine))
        _refuse_unfit(path, after)
        drafts.append(LockDraft(path if file is None else file.path, before, after))
    return drafts


def _refuse_unfit(path: str, text: str) -> None:
    """Raise ``ToolsUnknown`` for a lock that no manifest could use, because of what a server describes."""
    try:
        parse_lock(path, text.encode())
    except InvalidManifests as error:
        first = error.violations[0]
        message = f"{path}: a tool cannot be locked as its server describes it: {first.message}"
        raise ToolsUnknown(
            message, hint="leave that tool out of `allow`, or ask whoever runs the server"
        ) from None


def _read_lock(path: str, text: str | None) -> ToolLock:
    """Return a lock; an empty one where it is missing or broken, since it is written anew."""
    if text is None:
        return {}
    try:
        return parse_lock(path, text.encode())
    except InvalidManifests:
        return {}


def _renew_lock(
    old: ToolLock, offered: Sequence[tuple[NamedServer, Mapping[str, ServerTool]]]
) -> dict[str, dict[str, PinnedTool]]:
    renewed = {url: dict(tools) for url, tools in old.items()}
    named = {server.url for server, _ in offered}
    for url in named:
        renewed[url] = {}
    taken = {one.shown_name for tools in renewed.values() for one in tools.values()}
    for server, offer in offered:
        for name in server.entry.mcp.allow:
            if name in renewed[server.url]:
                continue
            tool = offer.get(name)
            if tool is None:
                known = ", ".join(sorted(offer)[:20]) or "none"
                message = f"{server.manifest}: {server.url} offers no tool {name!r}"
                raise ToolsUnknown(message, hint=f"its tools: {known}")
            pinned = _pin(tool, old.get(server.url, {}).get(name), taken)
            taken.add(pinned.shown_name)
            renewed[server.url][name] = pinned
    return renewed


def _pin(tool: ServerTool, before: PinnedTool | None, taken: Collection[str]) -> PinnedTool:
    if before is not None and before.shown_name not in taken:
        return PinnedTool(tool, before.alias)
    return PinnedTool(tool, choose_alias(tool.name, taken))


def format_lock(lock: ToolLock) -> str:
    """Return the file of ``lock``."""
    servers = [
        {"url": url, "tools": [dump_tool(tools[name]) for name in sorted(tools)]}
        for url, tools in sorted(lock.items())
        if tools
    ]
    return HEADER + dump_value({"lock": LOCK_VERSION, "servers": servers})
