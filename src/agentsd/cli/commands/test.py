"""``agentsd test``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentsd.cli.commands.author import ENV_OPTION, PATH_OPTION
from agentsd.cli.compose.factories import (
    load_settings,
    make_catalog,
    make_checker,
    make_opener,
    make_sessions,
    run,
)
from agentsd.cli.output import get_stderr, get_stdout, print_json, print_lines
from agentsd.core.errors import AgentNotFound, AgentsdError, ConfigError, InvalidManifests
from agentsd.core.manifest.agent import AgentRow, Manifest
from agentsd.core.names import USER_FILE, derive_slug, slug_from_url
from agentsd.core.violations import filter_errors, suggest_word
from agentsd.files.tree import Tree, read_tree_at_rest
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.control.validation.checker import Checker
    from agentsd.providers.base import Knowledge
    from agentsd.runtime.agents.builder import Builder
    from agentsd.services.verdict import AgentVerdict

_CONCURRENCY_MAX = 4
"""Agents tested concurrently."""


@click.command("test")
@click.argument("agents", nargs=-1)
@PATH_OPTION
@ENV_OPTION
@click.option("--all", "every", is_flag=True, help="Test every agent.")
@click.option("--changed", metavar="REF", help="Test agents whose files changed since this branch left REF.")
@click.option("--probes/--no-probes", default=True, help="Whether to probe each provider.")
@click.option("--checks/--no-checks", default=True, help="Whether to run the `checks:` of the manifests.")
@click.option("--format", "form", type=click.Choice(["text", "json", "junit"]), default="text")
def test_command(
    agents: tuple[str, ...],
    path: Path | None,
    env: str | None,
    every: bool,
    changed: str | None,
    probes: bool,
    checks: bool,
    form: str,
) -> None:
    """Probe agents for real, and run the checks of their manifests.

    Every provider is asked for one token, one spoken word, one transcribed second or one vector,
    fallbacks included. Needs the key that opens the manifests; no database. It calls the vendors,
    so it may cost a little. Exits with 0, or 1 where anything failed.

    \b
    Examples:
      agentsd test support acme/sales
      agentsd test --changed origin/main --format junit > report.xml    in CI, for a pull request
      agentsd test support --no-probes                                  the checks alone
    """
    settings = load_settings(path=path, env=env)
    if not (agents or every or changed):
        raise ConfigError("no agent is named", hint="name agents, or pass --changed REF or --all")
    verdicts = run(_test_agents(settings, agents, every=every, changed=changed, probes=probes, checks=checks))
    _print_verdicts(verdicts, form)
    if not all(verdict.ok for verdict in verdicts):
        sys.exit(1)


async def _test_agents(
    settings: Settings,
    names: Sequence[str],
    *,
    every: bool,
    changed: str | None,
    probes: bool,
    checks: bool,
) -> list[AgentVerdict]:
    from agentsd.runtime.agents.builder import Builder

    tree = read_tree_at_rest(settings.path, env=settings.env)
    paths = _choose_manifests(tree, names) if names and not every else _list_manifests(tree)
    if changed:
        paths = await _list_changed(settings.path, tree, paths, changed)
    opener, sessions, places = (
        make_opener(settings),
        make_sessions(settings),
        asyncio.Semaphore(_CONCURRENCY_MAX),
    )
    builder = Builder(opener, make_catalog(), sessions, trusted_origins=settings.trusted_origins)
    tester = _Tester(tree, make_checker(settings), builder, probes, checks)

    async def one(path: str) -> AgentVerdict:
        async with places:
            return await tester.judge(path)

    try:
        return list(await asyncio.gather(*(one(path) for path in paths)))
    finally:
        await sessions.aclose()


@dataclass(frozen=True, slots=True)
class _Tester:
    tree: Tree
    checker: Checker
    builder: Builder
    probes: bool
    checks: bool

    async def judge(self, path: str) -> AgentVerdict:
        """Return the verdict on the agent of one file.

        A file that breaks a rule, or does not open, is a problem.
        """
        from agentsd.runtime.agents.standalone import open_single_agent
        from agentsd.services.verdict import AgentVerdict, judge_agent

        slug = derive_slug(path)
        try:
            manifest = await self._manifest(path)
            async with open_single_agent(self.builder, make_row(manifest)) as agent:
                return await judge_agent(
                    agent, load_knowledge(manifest), probes=self.probes, checks=self.checks
                )
        except InvalidManifests as error:
            first, *more = filter_errors(error.violations)
            rest = f" (and {len(more)} more)" if more else ""
            said = f"{self.tree.root}/{first.where}: {first.message}{rest}"
            return AgentVerdict(slug, problem=said, fix=first.hint or "run: agentsd validate")
        except AgentsdError as error:
            return AgentVerdict(slug, problem=error.message, fix=error.hint)

    async def _manifest(self, path: str) -> Manifest:
        checked = await self.checker.check_wholly(self.tree.files[path], self.tree.beside)
        if checked.manifest is None or filter_errors(checked.violations):
            raise InvalidManifests(checked.violations)
        return checked.manifest


def make_row(manifest: Manifest) -> AgentRow:
    """Return the row that a sync would make of ``manifest``, as far as building it needs one."""
    now, attached = datetime.now(UTC), manifest.attachments
    return AgentRow(
        id=manifest.id,
        slug=manifest.slug,
        owner=manifest.owner,
        source="",
        path=manifest.path,
        version=0,
        digest=manifest.digest,
        is_default=manifest.default,
        is_active=manifest.active,
        name=manifest.slug,
        commit=None,
        created_at=now,
        updated_at=now,
        data=manifest.data or b"",
        prompt=attached.prompt.data if attached.prompt else None,
        sources=tuple((source.path, source.digest) for source in attached.sources),
        layers=attached.layers,
        locks=attached.locks,
    )


def load_knowledge(manifest: Manifest) -> Knowledge | None:
    """Return the agent's knowledge, in memory; None if it has no sources."""
    from agentsd.control.validation.text_extraction import extract_passages
    from agentsd.core.manifest.chunks import Passage
    from agentsd.services.memory_knowledge import MemoryKnowledge

    sources = manifest.attachments.sources
    if not sources:
        return None
    return MemoryKnowledge(
        Passage(source.path, chunk.ordinal, chunk.heading, chunk.text, 0.0)
        for source in sources
        for chunk in extract_passages(source.path, source.data or b"")
    )


def _list_manifests(tree: Tree) -> list[str]:
    layers = tree.beside.layers
    return [path for path in tree.files if path not in layers and path.rpartition("/")[2] != USER_FILE]


def _choose_manifests(tree: Tree, names: Sequence[str]) -> list[str]:
    by_slug = {derive_slug(path): path for path in _list_manifests(tree)}
    chosen = []
    for name in names:
        slug = slug_from_url(name)
        if slug not in by_slug:
            hint = suggest_word(slug, by_slug) or f"agents are the files of {tree.root}"
            raise AgentNotFound(f"there is no agent {name!r}", hint=hint)
        chosen.append(by_slug[slug])
    return list(dict.fromkeys(chosen))


async def _list_changed(root: Path, tree: Tree, paths: Sequence[str], ref: str) -> list[str]:
    from agentsd.control.validation.attachments import resolve_attachments
    from agentsd.core.manifest.document import parse_document
    from agentsd.core.manifest.layers import merge_layers
    from agentsd.files.git.command import list_changed_files

    changed = await list_changed_files(root, ref)
    if tree.overlay:
        changed |= {tree.overlay + path for path in await list_changed_files(root / tree.overlay, ref)}

    def touched(path: str) -> bool:
        if path in changed:
            return True
        layers = tree.beside.layers_of(path)
        if any(one.path in changed for one in layers):
            return True
        try:
            below = [parse_document(one.path, one.data) for one in layers]
            document = merge_layers(
                parse_document(path, tree.files[path].data), below, lambda kind, provider: None
            )
        except InvalidManifests:
            return False  # broken before, and not touched since
        return any(one.path in changed for one in resolve_attachments(document, tree.beside).attachments.all)

    found = [path for path in paths if touched(path)]
    if not found:
        print_lines(get_stderr(), [(("dim", f"no agent changed since {ref}"),)])
    return found


def _print_verdicts(verdicts: Sequence[AgentVerdict], form: str) -> None:
    from agentsd.cli.verdict_text import format_junit, format_verdicts

    if form == "json":
        told = {"ok": all(one.ok for one in verdicts), "agents": [one.as_json() for one in verdicts]}
        print_json(told)
    elif form == "junit":
        sys.stdout.write(format_junit(verdicts))
    else:
        print_lines(get_stdout(), format_verdicts(verdicts))
