"""Agent made of the previous system's environment variables, in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentsd.cli.compose.factories import make_catalog
from agentsd.cli.output import get_stderr, print_lines, show_error
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.runtime.agents.builder import Builder
    from agentsd.runtime.agents.fallback import FallbackAgent
    from agentsd.runtime.agents.registry import Registry
    from agentsd.runtime.agents.resolver import DocumentHistory
    from agentsd.telemetry import Metrics


def make_registry(
    settings: Settings, builder: Builder, history: DocumentHistory, metrics: Metrics
) -> Registry:
    """Return the running agents; if no other answers, the agent of the old system's variables does."""
    from agentsd.runtime.agents.registry import Registry

    try:
        return Registry(builder, history, metrics, fallback=load_env_fallback(settings, os.environ))
    except AgentsdError as error:
        text = f"no agent is made of environment variables: {error.message}"
        show_error(ConfigError(text, hint=error.hint or "set AGENTSD_ENV_AGENT=off"))
        return Registry(builder, history, metrics)


def load_env_fallback(settings: Settings, environ: Mapping[str, str]) -> FallbackAgent | None:
    """Return the agent of the old system's variables in the environment; None if there is none, or it is off.

    It answers in place of the built-in one, until manifests replace it.
    """
    if settings.env_agent == "off":
        return None
    from agentsd.control.importers.dotenv_names import VARIABLE_NAMES

    if not VARIABLE_NAMES & environ.keys():
        return None
    from agentsd.control.importers.dotenv import (
        DEFAULT_SLUG,
        MANIFEST_HEAD,
        is_old_env,
        migrate_env,
        read_environ,
    )
    from agentsd.core.manifest.agent import AgentHead
    from agentsd.runtime.agents.fallback import FallbackAgent

    catalog = make_catalog()
    read = read_environ(environ)
    migrated = migrate_env(read, catalog)
    if "llm" not in migrated.sections or not is_old_env(read, migrated):
        return None
    sections = {kind: catalog.settings_of(kind, section) for kind, section in migrated.sections.items()}
    head = AgentHead.model_validate(
        {**MANIFEST_HEAD, "description": "Made of environment variables, in memory only"}
    )
    _warn_deprecated(sorted(note.name for note in migrated.notes if note.outcome == "used"))
    return FallbackAgent(DEFAULT_SLUG, head, sections)


def _warn_deprecated(names: list[str]) -> None:
    text = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    lines = [
        (
            ("yellow", "  ! "),
            ("", f"deprecated: the agent 'development' is made of environment variables ({text})"),
        ),
        (("dim", "    → make it a sealed manifest: agentsd import-env .env; or AGENTSD_ENV_AGENT=off"),),
    ]
    print_lines(get_stderr(), lines)
