"""Common settings of all providers of this machine."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from agentsd.providers.network import Seconds
from agentsd.providers.schema import ProviderSettings


class LocalSettings(ProviderSettings):
    """Base of the settings of providers that run on this machine: no URL, no key."""

    model_config = ConfigDict(defer_build=True)  # as for the network's vendors: built on first use

    kind: ClassVar[str]
    """The manifest's section, for hints that name a field."""

    timeout_seconds: Annotated[
        Seconds,
        Field(
            description="Longest wait in seconds for each part of an answer; the first includes the wait "
            "for a free thread and, at the very first, for the model to load.",
            examples=[60],
        ),
    ] = 60.0
    preload: Annotated[
        bool,
        Field(
            description="Load the model when the agent is opened, not when it is first used.",
            examples=[True],
        ),
    ] = False
