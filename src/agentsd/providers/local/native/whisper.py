"""Whisper, by faster-whisper and CTranslate2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall, EngineRefusal

BASE_BYTES = 256 << 20
ENGLISH_ONLY = "english_only"
TEMPERATURES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
"""The library's own: the next one is tried where the text of the last one is unlikely."""
SCORES = ("avg_logprob", "compression_ratio", "no_speech_prob", "temperature")


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

        how = call.fields
        self._refuse_language(how)
        sound = numpy.frombuffer(call.body, numpy.dtype("<i2")).astype(numpy.float32) / 32768
        segments, info = self._model.transcribe(
            sound,
            language=how["language"],
            task="translate" if how.get("translate") else "transcribe",
            initial_prompt=how.get("prompt"),
            temperature=how.get("temperature") or TEMPERATURES,
            word_timestamps=bool(how.get("words")),
            beam_size=1,
            condition_on_previous_text=False,
            without_timestamps=False,
        )
        for segment in segments:
            text = segment.text.strip()
            if call.stopped or (text and call.emit({"text": text, **_describe_segment(segment, info)})):
                return

    def _refuse_language(self, how: Mapping[str, Any]) -> None:
        """Refuse what a model of English cannot do: the library would ignore it."""
        asked = how["language"]
        english = asked is None or asked.partition("-")[0].lower() == "en"
        if not self._model.model.is_multilingual and (how.get("translate") or not english):
            raise EngineRefusal(ENGLISH_ONLY)


def _describe_segment(segment: Any, info: Any) -> dict[str, Any]:
    """Return times and scores of a segment, as OpenAI names them."""
    words = [
        {"word": word.word.strip(), "start": word.start, "end": word.end} for word in segment.words or ()
    ]
    scores = {name: getattr(segment, name) for name in SCORES}
    language = {"language": info.language}
    return {"start": segment.start, "end": segment.end, "words": words, **scores, **language}


load = WhisperEngine
