"""Speech: a text in an agent's voice. Over the protocol ``TTS`` only; vendors are unknown here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import cast

from agentsd.core.errors import AgentUnavailable
from agentsd.providers.base import TTS, LiveAgent
from agentsd.providers.options import SpeechOptions, tune_client

_NO_OPTIONS = SpeechOptions()


@dataclass(frozen=True, slots=True)
class SpokenText:
    """Stream of 16-bit little-endian mono PCM at ``sample_rate`` hertz.

    Closing it closes the vendor's stream.
    """

    sample_rate: int
    pcm: AsyncGenerator[bytes, None]


def speak_text(agent: LiveAgent, text: str, options: SpeechOptions = _NO_OPTIONS) -> SpokenText:
    """Speak ``text``. Raises ``AgentUnavailable``, ``OptionRefused``; a chunk may raise ``ProviderError``."""
    tts = tune_client(require_voice(agent), agent.provider_names.get("tts", "this voice"), options)
    stream = cast("AsyncGenerator[bytes, None]", tts.stream(_yield_text(text)))
    return SpokenText(tts.sample_rate, stream)


def require_voice(agent: LiveAgent) -> TTS:
    """Return the agent's voice. Raises ``AgentUnavailable``."""
    if agent.tts is None:
        raise AgentUnavailable(
            f"agent {agent.slug!r} has no voice", reason="NoTTS", hint="add a tts section to its manifest"
        )
    return agent.tts


async def _yield_text(text: str) -> AsyncIterator[str]:
    yield text
