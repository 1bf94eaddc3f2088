"""``Vendor``: what the catalog knows of one vendor and kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentsd.providers.local.needs import Needs
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.sessions import HttpSessions


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor's settings class, and how to build its client (None: settings only).

    ``needs`` is what the client needs on this machine beyond agentsd itself (None: nothing).
    """

    settings: type[ProviderSettings]
    build: Callable[[Any, HttpSessions], Any] | None
    needs: Needs | None = None

    @property
    def name(self) -> str:
        """The manifest's ``provider``."""
        return self.settings.provider_name()
