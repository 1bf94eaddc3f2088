"""Transcripts as OpenAI's ``response_format`` names them. Pure.

SubRip: https://www.matroska.org/technical/subtitles.html#srt-subtitles; WebVTT: https://www.w3.org/TR/webvtt1/.
Where the recogniser sends no times, one subtitle covers all, and ``verbose_json`` has no segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import Field
from typing_extensions import TypedDict

from agentsd.providers.base import Transcript

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["segment", "word"]
TRANSCRIPT_FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)
TIMED_FORMATS = frozenset(("srt", "vtt", "verbose_json"))
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
_SCORES = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")

Task = Literal["transcribe", "translate"]


class Word(TypedDict):
    """Word with its times, in seconds."""

    word: str
    start: float
    end: float


class TranscriptionUsage(TypedDict):
    """Length of what was transcribed."""

    type: Literal["duration"]
    seconds: float


class Transcription(TypedDict):
    """Transcript. `verbose_json` adds fields."""

    text: str
    usage: NotRequired[TranscriptionUsage]
    task: NotRequired[Task]
    language: NotRequired[str]
    duration: NotRequired[Annotated[float, Field(ge=0, description="Seconds.")]]
    segments: NotRequired[list[dict[str, Any]]]
    words: NotRequired[list[Word]]


@dataclass(frozen=True, slots=True)
class Recognised:
    """Final transcripts of one recording."""

    parts: Sequence[Transcript]
    seconds: float  # of the recording
    language: str = ""
    task: Task = "transcribe"

    @property
    def text(self) -> str:
        """Return all of the text."""
        return " ".join(part.text for part in self.parts)

    @property
    def is_timed(self) -> bool:
        """Return whether every part has its times."""
        return bool(self.parts) and all(part.start is not None for part in self.parts)


def make_verbose(found: Recognised, granularities: Sequence[str]) -> Transcription:
    """Return the members of ``verbose_json``."""
    language = next((part.language for part in found.parts if part.language), found.language)
    body: Transcription = {
        "task": found.task,
        "language": language,
        "duration": round(found.seconds, 3),
        "text": found.text,
    }
    if found.is_timed and "segment" in granularities:
        body["segments"] = [_make_segment(found, number, part) for number, part in enumerate(found.parts)]
    if "word" in granularities:
        body["words"] = [
            {"word": word.text, "start": _clamp(found, word.start), "end": _clamp(found, word.end)}
            for part in found.parts
            for word in part.words
        ]
    return body


def _make_segment(found: Recognised, number: int, part: Transcript) -> dict[str, Any]:
    start, end = _get_times(found, part)
    scores = {name: part.scores.get(name, 0.0) for name in _SCORES}
    seek = int(min(max(part.scores.get("seek", 0.0), 0.0), 1e9))
    return {"id": number, "seek": seek, "start": start, "end": end, "text": part.text, "tokens": [], **scores}


def make_srt(found: Recognised) -> str:
    """Return SubRip subtitles."""
    return "".join(
        f"{number}\n{_stamp(start, ',')} --> {_stamp(end, ',')}\n{text}\n\n"
        for number, (start, end, text) in enumerate(_list_cues(found), 1)
    )


def make_vtt(found: Recognised) -> str:
    """Return WebVTT subtitles."""
    cues = (
        f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n{escape(text, quote=False)}\n\n"
        for start, end, text in _list_cues(found)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _list_cues(found: Recognised) -> list[tuple[float, float, str]]:
    """Return (start, end, text) of each subtitle; its text has no line break, which would end it."""
    if not found.is_timed:
        cues = [(0.0, found.seconds, found.text)] if found.text else []
    else:
        cues = [(*_get_times(found, part), part.text) for part in found.parts]
    return [(start, end, " ".join(text.split()).replace("-->", "->")) for start, end, text in cues]


def _get_times(found: Recognised, part: Transcript) -> tuple[float, float]:
    start = _clamp(found, part.start or 0.0)
    return start, max(start, _clamp(found, part.end or 0.0))


def _clamp(found: Recognised, seconds: float) -> float:
    """Return a vendor's time within the recording."""
    return round(min(max(seconds, 0.0), found.seconds), 3)


def _stamp(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
