"""Lock of MCP tools: names, descriptions and schemas as a team has reviewed them. Pure.

    lock: 1
    servers:
      - url: https://mcp.example.com/mcp
        tools:
          - name: search.docs
            as: search_docs            # what models call it, where its own name does not fit
            description: Searches the documentation.
            input_schema: |-
              {…}
            digest: 6c1f…

A model sees the texts of the lock only, never what a server says now. Schemas are JSON in a literal block,
since YAML reads some of their keys (``on``, ``null``) otherwise, and a review compares lines. The digest
shows that an entry is as ``agentsd tools lock`` wrote it, but for ``as``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.tool_schema import find_schema_problem
from agentsd.core.manifest.tools import ClientTool, HttpTool, McpServer, McpTools, ToolEntry
from agentsd.core.names import strip_overlay
from agentsd.core.violations import Pointer, Violation

LOCK_VERSION = 1
LOCK_DEFAULT = McpServer.model_fields["lock"].default
"""Name of a lock where a manifest gives none."""
SERVERS_MAX, TOOLS_MAX = 100, 500
"""Servers of one lock, and tools of one server."""
NAME_CHARACTERS_MAX = 200
DESCRIPTION_CHARACTERS_MAX = 8_000
SCHEMA_CHARACTERS_MAX = 64 << 10

_FITTING_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RELOCK = "run: agentsd tools lock"


@dataclass(frozen=True, slots=True)
class ServerTool:
    """Tool as its server describes it."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all that a model may see of it, in hex; equal for equal tools."""
        whole = [self.name, self.description, self.input_schema, self.output_schema]
        return sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PinnedTool:
    """Tool of a lock."""

    tool: ServerTool
    alias: str | None = None
    digest: str = field(init=False, default="")  # of the tool

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self.tool.digest)

    @property
    def shown_name(self) -> str:
        """Return the name that models call it by."""
        return self.alias or self.tool.name


ToolLock = Mapping[str, Mapping[str, PinnedTool]]
"""URL of a server → its own name of a tool → the tool."""


@dataclass(frozen=True, slots=True)
class PinnedServer:
    """Entry of ``tools`` that is an MCP server, with the tools that its lock allows. Equal ones run alike."""

    entry: McpTools
    tools: tuple[PinnedTool, ...]


ToolSettings = HttpTool | ClientTool | PinnedServer
"""All that the tools of one entry are made of."""


def make_lock_path(manifest: str, name: str) -> str:
    """Return the path in the tree of the lock that the manifest at ``manifest`` calls ``name``."""
    folder, slash, _ = strip_overlay(manifest).rpartition("/")
    return f"{folder}{slash}{name}"


def pin_tools(
    entries: Iterable[ToolEntry], manifest: str, locks: Mapping[str, bytes]
) -> tuple[ToolSettings, ...]:
    """Return the settings of each entry, with what ``locks`` (by path) allow.

    Raises ``InvalidManifests`` where a lock is missing, or does not have a tool that an entry allows: a row
    may have been written by hand.
    """
    return tuple(_pin_server(one, manifest, locks) if isinstance(one, McpTools) else one for one in entries)


def _pin_server(entry: McpTools, manifest: str, locks: Mapping[str, bytes]) -> PinnedServer:
    path = make_lock_path(manifest, entry.mcp.lock)
    data = locks.get(path)
    pinned = parse_lock(path, data).get(entry.mcp.url, {}) if data is not None else {}
    missing = next((name for name in entry.mcp.allow if name not in pinned), None)
    if missing is not None:
        raise InvalidManifests([Violation(path, "lock-missing", "the lock lacks an allowed tool", _RELOCK)])
    return PinnedServer(entry, tuple(pinned[name] for name in entry.mcp.allow))


def is_fitting_name(name: str) -> bool:
    """Return whether models may call a tool by this name."""
    return _FITTING_NAME.fullmatch(name) is not None


def choose_alias(name: str, taken: Collection[str]) -> str | None:
    """Return the name by which models call the tool ``name``; None where its own fits and is free."""
    if is_fitting_name(name) and name not in taken:
        return None
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60].strip("_") or "tool"
    numbered = (stem if number == 1 else f"{stem}_{number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


def parse_lock(path: str, data: bytes) -> ToolLock:
    """Return the lock in ``data``. Raises ``InvalidManifests`` with every violation."""
    document = parse_document(path, data)
    problems: list[Violation] = []
    lock = _read_servers(document, problems)
    if problems:
        raise InvalidManifests(problems)
    return lock


def _read_servers(document: Document, problems: list[Violation]) -> ToolLock:
    if document.value.get("lock") != LOCK_VERSION:
        message = f"this is not a lock of version {LOCK_VERSION}"
        problems.append(document.violation(("lock",), "lock-invalid", message, _RELOCK))
        return {}
    lock: dict[str, Mapping[str, PinnedTool]] = {}
    for index, server in enumerate(_list_members(document, ("servers",), SERVERS_MAX, problems)):
        at: Pointer = ("servers", index)
        url = server.get("url")
        if not isinstance(url, str) or url in lock:
            message = "a server has no url, or one that occurs twice"
            problems.append(document.violation(at, "lock-invalid", message, _RELOCK))
            continue
        lock[url] = _read_tools(document, at, problems)
    return lock


def _read_tools(document: Document, at: Pointer, problems: list[Violation]) -> Mapping[str, PinnedTool]:
    tools: dict[str, PinnedTool] = {}
    for index, entry in enumerate(_list_members(document, (*at, "tools"), TOOLS_MAX, problems)):
        here: Pointer = (*at, "tools", index)
        found = _read_tool(document, here, entry, problems)
        if found is None:
            continue
        if found.tool.name in tools:
            message = "a tool occurs twice"
            problems.append(document.violation((*here, "name"), "lock-invalid", message, _RELOCK))
        tools[found.tool.name] = found
    return tools


def _list_members(
    document: Document, at: Pointer, most: int, problems: list[Violation]
) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings of the list at ``at``; report anything else."""
    value: Any = document.value
    for part in at:
        value = value.get(part) if isinstance(value, Mapping) else value[part]
    if not isinstance(value, list) or len(value) > most or not all(isinstance(one, Mapping) for one in value):
        message = f"{at[-1]} is not a list of up to {most} mappings"
        problems.append(document.violation(at, "lock-invalid", message, _RELOCK))
        return
    yield from value


def _read_tool(
    document: Document, at: Pointer, entry: Mapping[str, Any], problems: list[Violation]
) -> PinnedTool | None:
    problem = _find_entry_problem(entry)
    schemas: dict[str, Any] = {}
    for name in ("input_schema", "output_schema"):
        if problem is None and name in entry:
            schemas[name] = _parse_schema(entry[name])
            if schemas[name] is None:
                problem = name, f"{name} is not the JSON of an object"
    if problem is not None:
        where, message = problem
        problems.append(document.violation((*at, where) if where else at, "lock-invalid", message, _RELOCK))
        return None
    tool = ServerTool(entry["name"], entry.get("description", ""), **schemas)
    found = PinnedTool(tool, entry.get("as"))
    problem = _find_tool_problem(entry, found)
    if problem is not None:
        where, message = problem
        problems.append(document.violation((*at, where), "lock-invalid", message, _RELOCK))
    return found


_ENTRY_KEYS = frozenset({"name", "as", "description", "input_schema", "output_schema", "digest"})
_LENGTHS = {"name": NAME_CHARACTERS_MAX, "as": 64, "description": DESCRIPTION_CHARACTERS_MAX, "digest": 64}


def _find_entry_problem(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the problem of an entry whose form is wrong."""
    unknown = next((key for key in entry if key not in _ENTRY_KEYS), None)
    if unknown is not None:
        return unknown, "this key does not belong into a lock"
    for name in ("name", "input_schema", "digest"):
        if name not in entry:
            return "", f"{name} is missing"
    for name, value in entry.items():
        most = _LENGTHS.get(name, SCHEMA_CHARACTERS_MAX)
        if not isinstance(value, str) or len(value) > most:
            return name, f"{name} is not a text of up to {most} characters"
    return None


def _find_tool_problem(entry: Mapping[str, Any], found: PinnedTool) -> tuple[str, str] | None:
    if found.digest != entry["digest"]:
        return "digest", "the digest does not match: this entry was edited by hand"
    if not is_fitting_name(found.shown_name):
        return "name", "models cannot call a tool by this name: it needs `as:`, of letters, digits, _ and -"
    problem = find_schema_problem(found.tool.input_schema)
    return None if problem is None else ("input_schema", f"this schema cannot be used: {problem}")


def _parse_schema(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def dump_tool(pinned: PinnedTool) -> dict[str, str]:
    """Return the entry of a tool, as ``parse_lock`` reads it."""
    tool = pinned.tool
    entry = {"name": tool.name}
    if pinned.alias is not None:
        entry["as"] = pinned.alias
    entry["description"] = tool.description
    entry["input_schema"] = format_schema(tool.input_schema)
    if tool.output_schema is not None:
        entry["output_schema"] = format_schema(tool.output_schema)
    return entry | {"digest": pinned.digest}


def format_schema(schema: Mapping[str, Any]) -> str:
    """Return a schema as JSON of many lines, for reviews."""
    return json.dumps(schema, indent=2, sort_keys=True)


@dataclass(frozen=True, slots=True)
class LockProblem:
    """Disagreement of a manifest's tools with its lock. ``pointer`` is in the manifest."""

    pointer: Pointer
    message: str
    hint: str


def find_lock_problems(tools: object, locks: Mapping[int, ToolLock]) -> Iterator[LockProblem]:
    """Yield where a section ``tools`` and its locks disagree; ``locks``: by an entry's index."""
    shown = {
        str(entry["name"]): (index, "")
        for index, entry in enumerate(tools if isinstance(tools, list) else ())
        if isinstance(entry, Mapping) and "name" in entry
    }
    for index, lock in locks.items():
        server = tools[index]["mcp"]  # type: ignore[index]
        url, at = str(server.get("url")), ("tools", index, "mcp")
        pinned = lock.get(url)
        if pinned is None:
            yield LockProblem((*at, "url"), f"the lock has no tools of {url}", _RELOCK)
            continue
        for place, name in enumerate(server.get("allow") or ()):
            found = pinned.get(str(name))
            if found is None:
                yield LockProblem((*at, "allow", place), f"the lock has no tool {name!r}", _RELOCK)
            elif shown.setdefault(found.shown_name, (index, name)) != (index, name):
                hint = "give it another name in the lock: as: NAME"
                message = f"another tool of this manifest is called {found.shown_name!r}, too"
                yield LockProblem((*at, "allow", place), message, hint)
