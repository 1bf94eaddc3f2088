"""Options of one request that change how a provider speaks, listens or embeds, beside its manifest.

A client that has some has a method ``tune(options)``, which returns a client for one request: it shares
everything with the first and is not closed. Whatever it does not have, it refuses by name
(``OptionRefused``); a client without ``tune`` has none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agentsd.core.errors import OptionRefused

P = TypeVar("P")


class ProviderOptions(Protocol):
    """Options of one kind of provider."""

    def list_requested(self) -> list[str]:
        """Return the fields of the request that need a provider which has them."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """Options of speech. ``speed`` None is the manifest's; 1 is the voice's own pace."""

    speed: float | None = None

    def list_requested(self) -> list[str]:
        """Return the fields of the request that need a provider which has them."""
        return ["speed"] if self.speed is not None else []


@dataclass(frozen=True, slots=True)
class ListeningOptions:
    """Options of one recording.

    ``segments`` and ``words`` ask for times; a provider without times of segments sends the text alone.
    """

    language: str | None = None  # ISO 639-1, perhaps with a region: en, pt-BR
    prompt: str | None = None
    temperature: float | None = None
    segments: bool = False
    words: bool = False
    translate: bool = False  # to English

    def list_requested(self) -> list[str]:
        """Return the fields of the request that need a provider which has them."""
        asked = {
            "language": self.language is not None,
            "prompt": self.prompt is not None,
            "temperature": self.temperature is not None,
            "timestamp_granularities": self.words,
            "translation": self.translate,
        }
        return [name for name, is_asked in asked.items() if is_asked]


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """Options of vectors. ``dimensions`` None is the manifest's, or the model's own."""

    dimensions: int | None = None

    def list_requested(self) -> list[str]:
        """Return the fields of the request that need a provider which has them."""
        return ["dimensions"] if self.dimensions is not None else []


def tune_client(client: P, vendor: str, options: ProviderOptions) -> P:
    """Return ``client`` with ``options`` for one request. Raises ``OptionRefused``."""
    tune: Any = getattr(client, "tune", None)
    if tune is None:
        refuse_options(vendor, options, ())
        return client
    tuned: P = tune(options)
    return tuned


def refuse_options(vendor: str, options: ProviderOptions, known: Collection[str]) -> None:
    """Refuse the first requested option that is not ``known``. Raises ``OptionRefused``."""
    for param in options.list_requested():
        if param not in known:
            raise make_refusal(vendor, param)


def make_refusal(vendor: str, param: str, why: str = "") -> OptionRefused:
    """Return the error for an option that ``vendor`` does not have."""
    if param == "translation":
        message = f"{vendor} cannot translate"
        return OptionRefused(message, param="model", hint="ask for a transcription, or another agent")
    message = f"{vendor} does not take {param} from a request{why}"
    return OptionRefused(message, param=param, hint="leave it out, or ask an agent with another provider")


def check_speed(vendor: str, options: SpeechOptions, lowest: float, highest: float) -> float | None:
    """Return the requested speed. Raises ``OptionRefused`` beyond what the vendor has."""
    if options.speed is not None and not lowest <= options.speed <= highest:
        why = f": {vendor} speaks at {lowest:g} to {highest:g}"
        raise OptionRefused(
            f"speed is out of range{why}", param="speed", hint="ask for a speed in that range"
        )
    return options.speed


def is_language(asked: str | None, spoken: str | None) -> bool:
    """Return whether a requested language is the one that is set already: ``en`` and ``en-GB`` are one."""
    if asked is None or spoken is None:
        return asked is None
    return get_primary_language(asked) == get_primary_language(spoken)


def get_primary_language(language: str) -> str:
    """Return the code of a language without region and script: ``en`` of ``en-US``, as Whisper takes it."""
    return language.replace("_", "-").partition("-")[0].lower()
