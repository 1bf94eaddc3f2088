"""Whisper, by faster-whisper and CTranslate2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall

BASE_BYTES = 256 << 20


def need(settings: Mapping[str, Any]) -> int:
    """Return the bytes that the model is estimated to take."""
    return (Path(settings["path"]) / "model.bin").stat().st_size * 2 + BASE_BYTES


class WhisperEngine:
    """Loaded model."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from faster_whisper import WhisperModel

        self._model: Any = WhisperModel(
            settings["path"],
            device="cpu",
            compute_type="int8",
            cpu_threads=settings["threads"],
            local_files_only=True,
        )
        self.operations = {"hear": self._hear}

    def _hear(self, call: EngineCall) -> None:
        """Transcribe the body, segment by segment."""
        import numpy

        sound = numpy.frombuffer(call.body, numpy.dtype("<i2")).astype(numpy.float32) / 32768
        segments, _ = self._model.transcribe(
            sound,
            language=call.fields["language"],
            beam_size=1,
            condition_on_previous_text=False,
            without_timestamps=False,
        )
        for segment in segments:
            text = segment.text.strip()
            if call.stopped or (text and call.emit({"text": text})):
                return


load = WhisperEngine
