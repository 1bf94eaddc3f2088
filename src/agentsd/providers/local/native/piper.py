"""Piper: a neural voice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall

PIECE_BYTES = 16 << 10
"""Bytes of PCM that are sent at a time: a third of a second at 22,050 Hz."""
BASE_BYTES = 192 << 20


def need(settings: Mapping[str, Any]) -> int:
    """Return the bytes that the voice is estimated to take."""
    return Path(settings["path"]).stat().st_size * 2 + BASE_BYTES


class PiperEngine:
    """Loaded voice."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from piper import PiperVoice

        self._voice: Any = PiperVoice.load(settings["path"])
        self.operations = {"speak": self._speak}

    def _speak(self, call: EngineCall) -> None:
        """Send the PCM of the body's text as it is made; nothing if the text contains nothing to speak."""
        from piper import SynthesisConfig

        how = SynthesisConfig(**call.fields)
        for chunk in self._voice.synthesize(call.body.decode(), how):
            pcm = chunk.audio_int16_bytes
            for start in range(0, len(pcm), PIECE_BYTES):
                if call.emit({}, pcm[start : start + PIECE_BYTES]):
                    return


load = PiperEngine
