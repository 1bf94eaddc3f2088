"""Public API for packages that add providers.

A vendor package imports from this module only; everything else in ``agentsd`` may move between versions.
The package registers a ``Vendor`` by an entry point of the group ``agentsd.providers``, named by kind and
provider::

    [project.entry-points."agentsd.providers"]
    "tts.beep.example" = "beeper.voice:VENDOR"

Settings
    ``ProviderSettings`` is for a provider in this process, ``NetworkSettings`` for one on a network (it
    adds timeouts, retries and limits), ``CompletionsSettings`` for one that speaks OpenAI's chat completions:
    its settings are all that is needed, since ``build_completions`` makes the client. Fields of type
    ``ApiKey``, ``OptionalApiKey`` or ``Secret`` must be sealed; ``Url`` fields are held to the trust rule;
    ``home`` names the vendor's own origins.

Clients
    ``LLM``, ``TTS``, ``STT`` and ``Embedding`` are the protocols that a client follows; audio is 16-bit
    signed little-endian mono PCM. ``HttpSessions`` has pooled sessions that respect the outbound guard and
    the operator's forward proxies: ``sessions.acquire(settings.url, settings.proxy)``.
    A client that takes a speed, a language, dimensions and the like from a request has
    ``tune(options)``, which returns a copy for it and refuses the rest by ``refuse_options``.
    Recognisers add times to a ``Transcript`` where they have them.

Errors
    A client raises ``ProviderError`` and its subclasses only, with a message of its own words: a vendor's
    text may quote the key.
"""

from __future__ import annotations

from agentsd.core.errors import OptionRefused, ProviderError
from agentsd.core.secret import Secret
from agentsd.providers.base import (
    LLM,
    STT,
    TTS,
    Embedding,
    ProviderAuthError,
    ProviderForbidden,
    ProviderNotFound,
    ProviderProtocolError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    ProviderUnreachable,
    TimedWord,
    Transcript,
)
from agentsd.providers.llm.openai_compatible import CompletionsSettings
from agentsd.providers.llm.openai_compatible import build_client as build_completions
from agentsd.providers.network import ApiKey, NetworkSettings, OptionalApiKey
from agentsd.providers.options import EmbeddingOptions, ListeningOptions, SpeechOptions, refuse_options
from agentsd.providers.schema import ProviderSettings, Url, UrlPath
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

__all__ = [
    "LLM",
    "STT",
    "TTS",
    "ApiKey",
    "CompletionsSettings",
    "Embedding",
    "EmbeddingOptions",
    "HttpSessions",
    "ListeningOptions",
    "NetworkSettings",
    "OptionRefused",
    "OptionalApiKey",
    "ProviderAuthError",
    "ProviderError",
    "ProviderForbidden",
    "ProviderNotFound",
    "ProviderProtocolError",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderSettings",
    "ProviderTimeout",
    "ProviderUnavailable",
    "ProviderUnreachable",
    "Secret",
    "SpeechOptions",
    "TimedWord",
    "Transcript",
    "Url",
    "UrlPath",
    "Vendor",
    "build_completions",
    "refuse_options",
]
