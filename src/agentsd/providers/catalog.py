"""Catalog of every vendor that a manifest may name. A new vendor is one file and one line here.

Importing this module is cheap: clients import their network library when they first connect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.sections import FALLBACK
from agentsd.core.masker import Masker
from agentsd.core.trust.rules import Destinations
from agentsd.core.violations import suggest_word
from agentsd.providers.client_guard import guard_client
from agentsd.providers.embedding import minilm
from agentsd.providers.embedding import openai_compatible as openai_embedding
from agentsd.providers.llm import (
    azure,
    echo,
    groq,
    llama_cpp,
    llama_embedded,
    mistral,
    openai,
    openai_compatible,
    openrouter,
)
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.stt import deepgram as deepgram_stt
from agentsd.providers.stt import faster_whisper, moonshine, whisper
from agentsd.providers.stt import openai_compatible as openai_stt
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.tts import async_ai, elevenlabs, flite, hume, kokoro, piper
from agentsd.providers.tts import deepgram as deepgram_tts
from agentsd.providers.tts import openai_compatible as openai_tts
from agentsd.providers.vendor import Vendor

LLM_VENDORS = (
    azure.VENDOR,
    echo.VENDOR,
    groq.VENDOR,
    llama_cpp.VENDOR,
    llama_embedded.VENDOR,
    mistral.VENDOR,
    openai.VENDOR,
    openai_compatible.VENDOR,
    openrouter.VENDOR,
)
TTS_VENDORS = (
    async_ai.VENDOR,
    deepgram_tts.VENDOR,
    elevenlabs.VENDOR,
    flite.VENDOR,
    hume.VENDOR,
    kokoro.VENDOR,
    openai_tts.VENDOR,
    piper.VENDOR,
)
STT_VENDORS = (
    deepgram_stt.VENDOR,
    faster_whisper.VENDOR,
    moonshine.VENDOR,
    openai_stt.VENDOR,
    whisper.VENDOR,
)
EMBEDDING_VENDORS = (minilm.VENDOR, openai_embedding.VENDOR)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Vendors by kind and by the name that manifests use."""

    llm: Mapping[str, Vendor]
    tts: Mapping[str, Vendor]
    stt: Mapping[str, Vendor]
    embedding: Mapping[str, Vendor]

    def of(self, kind: str) -> Mapping[str, Vendor]:
        """Return the vendors of one section: ``llm``, ``tts``, ``stt`` or ``embedding``."""
        vendors: Mapping[str, Vendor] = getattr(self, kind)
        return vendors

    def vendor(self, kind: str, name: object) -> Vendor:
        """Return the vendor called ``name``. Raises ``ConfigError`` with the nearest name."""
        vendors = self.of(kind)
        found = vendors.get(name) if isinstance(name, str) else None
        if found is None:
            hint = (
                suggest_word(name if isinstance(name, str) else "", vendors) or f"known: {', '.join(vendors)}"
            )
            raise ConfigError(f"{kind}: no such provider", hint=hint)
        return found

    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return where the secrets of a provider's section may be sent; None for an unknown provider."""
        vendor = self.of(kind).get(provider)
        return vendor.settings.destinations() if vendor else None

    def list_missing(self, kind: str, provider: str) -> tuple[str, ...]:
        """Return the packages and programs that a provider needs and that are not installed here."""
        vendor = self.of(kind).get(provider)
        return tuple(need.name for need in vendor.needs.missing()) if vendor and vendor.needs else ()

    def make_masker(self) -> Masker:
        """Return a masker that knows the secret fields of all vendors, those of plug-ins included."""
        vendors = (vendor for kind in SECTIONS for vendor in self.of(kind).values())
        return Masker(frozenset(name for one in vendors for name in one.settings.secret_fields()))

    def settings_of(self, kind: str, section: Mapping[str, Any]) -> ProviderSettings:
        """Return an opened section, its fallbacks included, as its vendor's settings.

        Raises ``ConfigError``, which quotes no value.
        """
        entries = section.get(FALLBACK, [])
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise ConfigError(f"{kind}.{FALLBACK}: not a list of sections", hint="run: agentsd validate")
        fallback = tuple(
            self._one(f"{kind}.{FALLBACK}[{index}]", kind, entry) for index, entry in enumerate(entries)
        )
        own = {key: value for key, value in section.items() if key != FALLBACK}
        return self._one(kind, kind, {**own, FALLBACK: fallback} if fallback else own)

    def _one(self, where: str, kind: str, section: Mapping[str, Any]) -> ProviderSettings:
        settings = self.vendor(kind, section.get("provider")).settings
        try:
            return settings.model_validate(dict(section))
        except ValidationError as error:
            problems = "; ".join(
                _format_problem(where, detail) for detail in error.errors(include_input=False)
            )
            raise ConfigError(problems, hint="run: agentsd validate") from None

    def build(self, kind: str, settings: ProviderSettings, sessions: HttpSessions) -> Any:
        """Return the client for ``settings``: an ``LLM``, ``TTS``, ``STT`` or ``Embedding``.

        Opens no connection.

        The client is behind ``providers.client_guard``: only content of a vendor passes it.
        """
        build = self.vendor(kind, settings.provider).build
        if build is None:
            raise ConfigError(
                f"{kind}: {settings.provider} has no client yet", hint="choose another provider"
            )
        return guard_client(kind, build(settings, sessions), settings)


def _format_problem(section: str, detail: Mapping[str, Any]) -> str:
    """Return a message such as ``llm.model: missing``: the place and the rule, never the value."""
    where = ".".join([section, *(str(part) for part in detail["loc"])])
    return f"{where}: {str(detail['type']).replace('_', ' ')}"


@cache
def default_catalog() -> Catalog:
    """Return the catalog of all built-in vendors."""
    return Catalog(
        *(_index_by_name(vendors) for vendors in (LLM_VENDORS, TTS_VENDORS, STT_VENDORS, EMBEDDING_VENDORS))
    )


def _index_by_name(vendors: tuple[Vendor, ...]) -> Mapping[str, Vendor]:
    return {vendor.name: vendor for vendor in vendors}
