"""Times, words and scores of a vendor's transcripts, by name and type; everything else is dropped. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentsd.providers.base import TimedWord, Transcript

SCORES = ("avg_logprob", "compression_ratio", "no_speech_prob", "temperature", "seek")
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z -]{1,31}", re.ASCII)


def parse_segments(answer: Mapping[str, Any]) -> list[Transcript]:
    """Return the segments of a ``verbose_json``, each with its words; none where the vendor sent none."""
    language, words = answer.get("language"), parse_words(answer.get("words"))
    found = answer.get("segments")
    segments = [
        segment
        for each in (found if isinstance(found, list) else [])
        if isinstance(each, dict)
        and (segment := make_transcript({**each, "language": language}, final=True)).text
    ]
    if not segments and words:
        whole = {
            "text": answer.get("text"),
            "language": language,
            "start": words[0].start,
            "end": words[-1].end,
        }
        segments = [make_transcript(whole, final=True)]
    return _share_words(segments, words)


def make_transcript(fields: Mapping[str, Any], *, final: bool) -> Transcript:
    """Return a transcript of ``text``, ``start``, ``end``, ``words``, ``language`` and scores, if valid."""
    text, language = fields.get("text"), fields.get("language")
    start, end = parse_number(fields.get("start")), parse_number(fields.get("end"))
    timed = start is not None and end is not None
    scores = {name: parse_number(fields.get(name)) for name in SCORES}
    return Transcript(
        text.strip() if isinstance(text, str) else "",
        final,
        start=start if timed else None,
        end=end if timed else None,
        words=parse_words(fields.get("words")),
        language=language if isinstance(language, str) and _LANGUAGE.fullmatch(language) else None,
        scores={name: value for name, value in scores.items() if value is not None},
    )


def parse_words(found: object, names: Sequence[str] = ("word",)) -> tuple[TimedWord, ...]:
    """Return the valid words of a list; a word's text is in the first of ``names`` that it has."""
    words = []
    for each in found if isinstance(found, list) else []:
        if not isinstance(each, dict):
            continue
        text = next((each[name] for name in names if isinstance(each.get(name), str)), "")
        start, end = parse_number(each.get("start")), parse_number(each.get("end"))
        if text and start is not None and end is not None:
            words.append(TimedWord(text, start, end))
    return tuple(words)


def parse_number(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _share_words(segments: Sequence[Transcript], words: Sequence[TimedWord]) -> list[Transcript]:
    """Return the segments with the words that begin before each one's end; the last one has the rest."""
    shared, at = [], 0
    for number, segment in enumerate(segments, 1):
        begin = at
        while at < len(words) and (number == len(segments) or words[at].start < (segment.end or 0.0)):
            at += 1
        shared.append(replace(segment, words=tuple(words[begin:at])) if words else segment)
    return shared
