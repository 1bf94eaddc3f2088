"""``Vendor``: the catalog's entry for one vendor and kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentsd.providers.local.needs import Needs
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.sessions import HttpSessions


@dataclass(frozen=True, slots=True)
class Vendor:
    """Settings class of a vendor, and the function that builds its client (None: settings only).

    ``needs`` lists what the client needs on this machine beyond agentsd itself (None: nothing).
    """

    settings: type[ProviderSettings]
    build: Callable[[Any, HttpSessions], Any] | None
    needs: Needs | None = None

    @property
    def name(self) -> str:
        """Return the manifest's ``provider``."""
        return self.settings.provider_name()
