"""Abilities of agents by the sections of their manifests, as ``/v1/models`` lists them."""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

from agentsd.core.manifest.agent import SECTIONS, AgentRow
from agentsd.core.masker import Masker
from agentsd.core.trust.rules import DestinationsOf
from agentsd.providers.base import LiveAgent
from agentsd.web.views.agent import list_vendors, load_document

ABILITIES = {"llm": "chat", "embedding": "embeddings", "tts": "speech", "stt": "transcription"}
"""Ability that each section gives."""
REALTIME_SECTIONS = frozenset({"llm", "tts", "stt"})
"""Sections of an agent that can be called."""
AGENTS_MAX = 200_000
"""Maximum agents whose abilities are cached, deleted ones included."""

_KEY = re.compile(rb"^[\"']?(llm|tts|stt|embedding)[\"']?[ \t]*:", re.MULTILINE)
_SECTION = re.compile(
    rb"^(llm|tts|stt|embedding):[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ ]+[^\s#]", re.MULTILINE
)


class AbilityCache:
    """Abilities of agents by their rows, which never change."""

    def __init__(self, masker: Masker, destinations: DestinationsOf) -> None:
        self._masker, self._destinations = masker, destinations
        self._kept: dict[UUID, tuple[bytes, tuple[str, ...]]] = {}  # id → digest, abilities

    def find(self, row: AgentRow) -> tuple[str, ...]:
        """Return what the agent of ``row`` can do, sorted. Parse its manifest only if necessary, and once."""
        digest, abilities = self._kept.get(row.id, (b"", ()))
        if digest == row.digest:
            return abilities
        sections = None if row.layers else scan_sections(row.data)
        if sections is None:
            sections = frozenset(list_vendors(load_document(row, self._destinations), self._masker))
        abilities = list_abilities(sections)
        if len(self._kept) >= AGENTS_MAX:
            self._kept.clear()
        self._kept[row.id] = row.digest, abilities
        return abilities


def list_abilities(sections: Collection[str]) -> tuple[str, ...]:
    """Return the abilities of an agent with these sections, sorted."""
    found = {ability for section, ability in ABILITIES.items() if section in sections}
    if REALTIME_SECTIONS.issubset(sections):
        found.add("realtime")
    return tuple(sorted(found))


def list_live_abilities(agent: LiveAgent) -> tuple[str, ...]:
    """Return the abilities of an agent that runs without a manifest."""
    return list_abilities([section for section in SECTIONS if getattr(agent, section) is not None])


def scan_sections(data: bytes) -> frozenset[str] | None:
    """Return the sections of a manifest in block style; None where only a parser knows.

    A key that is not indented belongs to the manifest itself, and an indented line after it is its section.
    """
    found = {match[1] for match in _SECTION.finditer(data)}
    plain = data[:1] not in (b"{", b"-", b"%", b"?") and b"<<" not in data and b"\t" not in data
    if not plain or len(found) != len(_KEY.findall(data)):
        return None
    return frozenset(name.decode() for name in found)
