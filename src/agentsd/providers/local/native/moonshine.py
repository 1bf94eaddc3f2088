"""Moonshine: one stream of the library for each audio stream."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall, EngineRefusal

SAMPLE_RATE = 16_000
SILENT_TAIL = bytes(SAMPLE_RATE)
"""Half a second of silence after the end: without it the last word is often wrong."""
FORCE_UPDATE_FLAG = 1
"""The library's flag to transcribe all audio now. Its own ``stop`` drops what is not transcribed yet."""
UNKNOWN_STREAM = "unknown_stream"
STREAMS_MAX = 1024
"""Audio streams open at a time."""
TOO_MANY_STREAMS = "too_many_streams"
BASE_BYTES = 256 << 20
_NEVER_SECONDS = 1e9  # seconds; the library must not transcribe on its own, between our calls


def need(settings: Mapping[str, Any]) -> int:
    """Return the bytes that the model is estimated to take."""
    return sum(file.stat().st_size for file in Path(settings["path"]).iterdir()) * 2 + BASE_BYTES


class MoonshineEngine:
    """Loaded model. One thread works on it, so its streams take turns."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from moonshine_voice import ModelArch
        from moonshine_voice.transcriber import Transcriber

        path = Path(settings["path"])
        self._library: Any = Transcriber(path, ModelArch.TINY, _NEVER_SECONDS, {"return_audio_data": "false"})
        self._streams: dict[int, _SoundStream] = {}
        self.operations = {"open": self._open, "hear": self._hear, "close": self._close}

    def _open(self, call: EngineCall) -> None:
        if len(self._streams) >= STREAMS_MAX:
            raise EngineRefusal(TOO_MANY_STREAMS)
        self._streams[call.fields["stream"]] = _SoundStream(self._library.create_stream())

    def _hear(self, call: EngineCall) -> None:
        stream = self._streams.get(call.fields["stream"])
        if stream is None:
            raise EngineRefusal(UNKNOWN_STREAM)
        for part in stream.hear(call.body, over=call.fields["over"]):
            call.emit(part)

    def _close(self, call: EngineCall) -> None:
        stream = self._streams.pop(call.fields["stream"], None)
        if stream:
            stream.close()


class _SoundStream:
    """Audio stream, and the part of its text that was sent already."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._stream.start()
        self._done: set[int] = set()  # lines that were sent as final
        self._partial = ""

    def hear(self, pcm: bytes, *, over: bool) -> list[dict[str, Any]]:
        """Return text, times and finality of what is new; ``over`` marks the end of the audio."""
        sound = pcm + SILENT_TAIL if over else pcm
        if sound:
            self._stream.add_audio([sample / 32768 for sample in array("h", sound)], SAMPLE_RATE)
        return self._new(
            self._stream.update_transcription(*((FORCE_UPDATE_FLAG,) if over else ())), over=over
        )

    def close(self) -> None:
        """Free the stream."""
        self._stream.close()

    def _new(self, transcript: Any, *, over: bool) -> list[dict[str, Any]]:
        """Return the new lines: complete ones are final, once each; the last one may change."""
        new: list[dict[str, Any]] = []
        for line in transcript.lines if transcript else ():
            text = line.text.strip()
            if line.line_id in self._done:
                continue
            if line.is_complete or over:
                self._done.add(line.line_id)
                self._partial = ""
                new += [_describe_line(line, text, final=True)] if text else []
            elif text and text != self._partial:
                self._partial = text
                new.append(_describe_line(line, text, final=False))
        return new


def _describe_line(line: Any, text: str, *, final: bool) -> dict[str, Any]:
    start = float(line.start_time)
    return {"text": text, "final": final, "start": start, "end": start + float(line.duration)}


load = MoonshineEngine
