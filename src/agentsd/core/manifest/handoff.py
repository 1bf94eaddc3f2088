"""Sections ``handoff`` and ``overrides`` of a manifest, and what of an agent its neighbours rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.manifest.turn import SAY_MAX

HANDOFFS_MAX = 20
"""Agents that one agent may hand over to."""

Carry = Literal["history", "summary", "nothing"]

Override = Literal["instructions", "language", "voice", "speed", "temperature", "max_tokens", "tools", "turn"]
"""Part of an agent that a client may change for itself."""


class Handoff(StrictModel):
    """Another agent of the same owner that the conversation may go on with, by the model's decision."""

    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=250,
            description="The other agent: its slug, or its id.",
            examples=["acme/billing"],
            json_schema_extra={"x-plain": True},
        ),
    ]
    when: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            description="When to hand over, for the model.",
            examples=["a question about an invoice"],
        ),
    ]
    say: Annotated[
        str,
        Field(
            max_length=SAY_MAX,
            description="What a caller hears first.",
            examples=["I am putting you through to billing."],
        ),
    ] = ""
    carry: Annotated[
        Carry,
        Field(
            description="What the other agent knows of the conversation: all of it, a summary, or the last "
            "question only.",
            examples=["history"],
        ),
    ] = "history"


@dataclass(frozen=True, slots=True)
class HandoffLink:
    """Target of a hand-off, and where a manifest, or a layer of it, names it."""

    to: str
    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class AgentLinks:
    """Links between agents: whom one hands over to, and what those who hand over to it have to know."""

    handoffs: tuple[HandoffLink, ...] = ()
    declares: tuple[str, ...] = ()  # names of its variables, sorted
    requires: tuple[str, ...] = ()  # those without a default, sorted

    def __bool__(self) -> bool:
        return bool(self.handoffs or self.declares)


NO_LINKS = AgentLinks()
