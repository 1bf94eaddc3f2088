"""``agentsd tools``: tools of MCP servers, pinned in files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentsd.cli.commands.author import ENV_OPTION, PATH_OPTION
from agentsd.cli.compose.factories import load_settings, make_catalog, make_opener, make_sessions, run
from agentsd.cli.output import get_stderr, get_stdout, print_json, print_lines
from agentsd.core.errors import AgentNotFound, ToolsUnknown
from agentsd.core.names import derive_slug, escape_unprintable, slug_from_url
from agentsd.core.violations import suggest_word
from agentsd.files.tree import Tree, read_tree_at_rest
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.control.importers.tool_lock import LockDraft, NamedServer
    from agentsd.core.manifest.tool_lock import ServerTool
    from agentsd.core.text.render import Line

_CONCURRENCY_MAX = 8
"""Servers that are asked at a time."""
_DIFFERS = 2
"""Exit status of ``diff`` where a server offers something else than its lock."""


@click.group("tools")
def tools_command() -> None:
    """Pin the tools of MCP servers in files, and compare them with what the servers offer now.

    A lock contains names, descriptions and schemas as they were reviewed. Models read these, and
    nothing else: a tool whose server changed it is not used until the new lock is merged.

    \b
    Examples:
      agentsd tools lock
      agentsd tools diff acme/sales
      agentsd tools list --remote
    """


@tools_command.command("lock")
@click.argument("agents", nargs=-1)
@PATH_OPTION
@ENV_OPTION
def lock_command(agents: tuple[str, ...], path: Path | None, env: str | None) -> None:
    """Write the locks of agents (default: of all) from what their MCP servers offer now.

    Connects to the servers, with the keys of the manifests; needs no database. Prints the diff.

    \b
    Examples:
      agentsd tools lock
      agentsd tools lock acme/sales
    """
    from agentsd.files.atomic.compare_and_swap import compare_and_swap

    settings = load_settings(path=path, env=env)
    drafts = run(_draft_locks(settings, agents))
    for draft in drafts:
        if draft.before != draft.after:
            before = None if draft.before is None else draft.before.encode()
            compare_and_swap(settings.path / draft.path, before, draft.after.encode())
    _print_diffs(drafts)
    changed = sum(draft.before != draft.after for draft in drafts)
    note = f"{len(drafts)} lock{'s' if len(drafts) != 1 else ''}, {changed} changed"
    print_lines(get_stderr(), [(("dim", f"{note}: review them, and commit them with the manifests"),)])


@tools_command.command("diff")
@click.argument("agents", nargs=-1)
@PATH_OPTION
@ENV_OPTION
def diff_command(agents: tuple[str, ...], path: Path | None, env: str | None) -> None:
    """Show what `agentsd tools lock` would change, and write nothing.

    Exits with 0 where every lock is as its servers are, 1 for an error, 2 for a difference.

    \b
    Examples:
      agentsd tools diff
      agentsd tools diff acme/sales
    """
    drafts = run(_draft_locks(load_settings(path=path, env=env), agents))
    _print_diffs(drafts)
    if any(draft.before != draft.after for draft in drafts):
        sys.exit(_DIFFERS)


@tools_command.command("list")
@click.argument("agents", nargs=-1)
@click.option("--remote", is_flag=True, help="Also ask the MCP servers what they offer.")
@PATH_OPTION
@ENV_OPTION
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def list_command(
    agents: tuple[str, ...], remote: bool, path: Path | None, env: str | None, form: str
) -> None:
    """List the tools of agents as the files have them.

    \b
    Examples:
      agentsd tools list
      agentsd tools list acme/sales --remote
    """
    settings = load_settings(path=path, env=env)
    tree = read_tree_at_rest(settings.path, env=settings.env)
    rows = [row for one in choose_manifests(tree, agents) for row in _list_tools(tree, one)]
    if remote:
        rows += run(_list_offers(settings, tree, agents))
    if form == "json":
        print_json({"tools": rows})
    else:
        print_lines(get_stdout(), _format_rows(rows))


def choose_manifests(tree: Tree, names: Sequence[str]) -> list[str]:
    """Return the paths of the agents called ``names``; of all, where none is given."""
    layers = tree.beside.layers
    by_slug = {
        derive_slug(path): path
        for path in tree.files
        if path not in layers and not path.rpartition("/")[2].startswith("_")
    }
    for name in map(slug_from_url, names):
        if name not in by_slug:
            hint = suggest_word(name, by_slug) or f"agents are the files of {tree.root}"
            raise AgentNotFound(f"there is no agent {name!r}", hint=hint)
    return [by_slug[slug_from_url(name)] for name in names] or list(by_slug.values())


async def _draft_locks(settings: Settings, agents: Sequence[str]) -> list[LockDraft]:
    from agentsd.control.importers.tool_lock import draft_locks

    tree = read_tree_at_rest(settings.path, env=settings.env)
    servers = await _open_servers(settings, tree, agents)
    if not servers:
        raise ToolsUnknown("no MCP server is named", hint="add `- mcp: {url: …, allow: […]}` to the tools")
    return draft_locks(tree, servers, dict(enumerate(await _ask_servers(settings, servers))))


async def _open_servers(settings: Settings, tree: Tree, agents: Sequence[str]) -> list[NamedServer]:
    from agentsd.control.importers.tool_lock import open_servers

    paths, opener = choose_manifests(tree, agents), make_opener(settings)
    trusted = frozenset(settings.trusted_origins)
    return await open_servers(tree, paths, opener, make_catalog().destinations, trusted)


async def _ask_servers(settings: Settings, servers: Sequence[NamedServer]) -> list[Mapping[str, ServerTool]]:
    """Return what each server offers now. Raises ``ToolsUnknown`` for one that cannot be asked."""
    from agentsd.control.importers.tool_lock import list_server
    from agentsd.providers.mcp.exchange import McpFailure

    sessions, places = make_sessions(settings), asyncio.Semaphore(_CONCURRENCY_MAX)

    async def ask(server: NamedServer) -> Mapping[str, ServerTool]:
        async with places:
            try:
                return await list_server(sessions, server)
            except McpFailure as failure:
                message = f"{settings.path}/{server.manifest}: {server.url}: {failure.message}"
                raise ToolsUnknown(message, hint=failure.hint) from None

    try:
        return list(await asyncio.gather(*map(ask, servers)))
    finally:
        await sessions.aclose()


async def _list_offers(settings: Settings, tree: Tree, agents: Sequence[str]) -> list[dict[str, Any]]:
    servers = await _open_servers(settings, tree, agents)
    offers = await _ask_servers(settings, servers)
    return [
        {
            "agent": derive_slug(server.manifest),
            "kind": "offered",
            "name": name,
            "server": server.url,
            "allowed": name in server.entry.mcp.allow,
            "description": offer[name].description,
        }
        for server, offer in zip(servers, offers, strict=True)
        for name in sorted(offer)
    ]


def _list_tools(tree: Tree, path: str) -> Iterator[dict[str, Any]]:
    """Yield the tools of one manifest as its files have them. Raises ``InvalidManifests``."""
    from agentsd.core.manifest.document import parse_document
    from agentsd.core.manifest.layers import merge_layers
    from agentsd.core.manifest.tool_lock import LOCK_DEFAULT, make_lock_path, parse_lock

    layers = [parse_document(one.path, one.data) for one in tree.beside.layers_of(path)]
    document = merge_layers(parse_document(path, tree.files[path].data), layers, make_catalog().destinations)
    tools = document.value.get("tools")
    slug = derive_slug(path)
    for entry in tools if isinstance(tools, list) else ():
        server = entry.get("mcp")
        if server is None:
            kind = "client" if "client" in entry else "http"
            told = {"name": str(entry.get("name")), "description": str(entry.get("description", ""))}
            yield {"agent": slug, "kind": kind, **told}
            continue
        file = tree.beside.files.get(make_lock_path(path, str(server.get("lock", LOCK_DEFAULT))))
        pinned = parse_lock(file.path, file.data).get(str(server.get("url")), {}) if file else {}
        for name in server.get("allow") or ():
            one = pinned.get(str(name))
            yield {
                "agent": slug,
                "kind": "mcp",
                "name": one.shown_name if one else str(name),
                "server": str(server.get("url")),
                "locked": one is not None,
                "description": one.tool.description if one else "",
            }


def _format_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    width = max((len(str(row["name"])) for row in rows), default=0)
    agent = None
    for row in rows:
        if row["agent"] != agent:
            agent = row["agent"]
            yield (("bold", str(agent)),)
        note = "" if row.get("locked", True) else " not in the lock: run agentsd tools lock"
        note += " (not allowed)" if row.get("allowed") is False else ""
        text = escape_unprintable(str(row["description"]).split("\n", 1)[0][:100])
        name = escape_unprintable(str(row["name"])).ljust(width)
        yield (("", f"  {name}  "), ("dim", f"{row['kind']:<8}"), ("", text), ("yellow", note))


def _print_diffs(drafts: Sequence[LockDraft]) -> None:
    from agentsd.core.text.unified_diff import format_unified_diff

    styles = {"+": "green", "-": "red", "@": "dim"}
    for draft in drafts:
        for line in format_unified_diff(draft.before, draft.after, draft.path).splitlines():
            print_lines(get_stdout(), [((styles.get(line[:1], ""), escape_unprintable(line)),)])
