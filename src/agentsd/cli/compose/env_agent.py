"""Agent made of the previous system's environment variables, in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentsd.cli.compose.parts import make_catalog
from agentsd.cli.output import print_lines, show_error, stderr
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.runtime.agents.builder import Builder
    from agentsd.runtime.agents.fallback import Fallback
    from agentsd.runtime.agents.registry import Registry
    from agentsd.runtime.agents.resolver import History
    from agentsd.telemetry import Metrics


def make_registry(settings: Settings, builder: Builder, history: History, metrics: Metrics) -> Registry:
    """Return the running agents; if no other answers, the agent of the old system's variables does."""
    from agentsd.runtime.agents.registry import Registry

    try:
        return Registry(builder, history, metrics, fallback=env_fallback(settings, os.environ))
    except AgentsdError as error:
        text = f"no agent is made of environment variables: {error.message}"
        show_error(ConfigError(text, hint=error.hint or "set AGENTSD_ENV_AGENT=off"))
        return Registry(builder, history, metrics)


def env_fallback(settings: Settings, environ: Mapping[str, str]) -> Fallback | None:
    """Return the agent of the old system's variables in the environment; None if there is none, or it is off.

    It answers in place of the built-in one, until manifests replace it.
    """
    if settings.env_agent == "off":
        return None
    from agentsd.control.importers.dotenv_names import NAMES

    if not NAMES & environ.keys():
        return None
    from agentsd.control.importers.dotenv import HEAD, SLUG, is_old, migrate, read_environ
    from agentsd.core.manifest.agent import AgentHead
    from agentsd.runtime.agents.fallback import Fallback

    catalog = make_catalog()
    read = read_environ(environ)
    migrated = migrate(read, catalog)
    if "llm" not in migrated.sections or not is_old(read, migrated):
        return None
    sections = {kind: catalog.settings_of(kind, section) for kind, section in migrated.sections.items()}
    head = AgentHead.model_validate({**HEAD, "description": "Made of environment variables, in memory only"})
    _warn(sorted(note.name for note in migrated.notes if note.outcome == "used"))
    return Fallback(SLUG, head, sections)


def _warn(names: list[str]) -> None:
    text = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    lines = [
        (
            ("yellow", "  ! "),
            ("", f"deprecated: the agent 'development' is made of environment variables ({text})"),
        ),
        (("dim", "    → make it a sealed manifest: agentsd import-env .env; or AGENTSD_ENV_AGENT=off"),),
    ]
    print_lines(stderr(), lines)
