"""POST /v1/audio/transcriptions and /v1/audio/translations: OpenAI's interface, ``model`` is an agent's slug.

The recording comes as a form (OpenAI's), or as the bare body with its ``Content-Type`` (also
``audio/pcm;rate=16000;channels=1``) and everything else in the query. ``language``, ``prompt``,
``temperature`` and times of words are passed on to providers that have them, and refused by name where the
agent's does not. ``partials`` (an extension) adds interim text that may still change to a stream, where
the vendor sends it.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.audio.wav import Sound
from agentsd.core.errors import OptionRefused
from agentsd.providers.base import LiveAgent, Transcript
from agentsd.providers.options import ListeningOptions
from agentsd.services.overrides import OverridePolicy, refuse_override
from agentsd.services.transcription import find_recogniser, stream_transcripts, transcribe_sound
from agentsd.web.agent_lookup import get_memory_hold
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import bad_request
from agentsd.web.http.reply import make_reply
from agentsd.web.openai.answer_stream import CompletionFrames, send_answer
from agentsd.web.openai.chat_turn import record_turn
from agentsd.web.openai.models import lease_model, make_agent_headers
from agentsd.web.openai.transcript_formats import (
    GRANULARITIES,
    TIMED_FORMATS,
    TRANSCRIPT_FORMATS,
    Granularity,
    Recognised,
    Task,
    TranscriptFormat,
    Transcription,
    TranscriptionUsage,
    make_srt,
    make_verbose,
    make_vtt,
)
from agentsd.web.openai.upload import AudioUpload, decode_upload, read_upload

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}", re.ASCII)
_STREAMED_FORMATS = ("json", "text")
TRANSCRIPT_FRAMES = CompletionFrames(last=b"")
"""Frames of a streamed transcript: the event ``transcript.text.done`` is its end."""
_Flag = Literal["true", "false"]
_OR_REFUSED = "Passed to the provider, or refused where it has none."
_Passed = Annotated[str, Field(description=_OR_REFUSED)]


class TranscriptionForm(TypedDict):
    """Recording, and what is asked of it; other fields are refused by name."""

    file: Annotated[
        str,
        Field(
            description="The recording: WAV, MP3, MP4, M4A, MPEG, OGG, Opus, WebM, FLAC and others.",
            json_schema_extra={"contentMediaType": "audio/*"},
        ),
    ]
    model: NotRequired[Annotated[str, Field(description="An agent: its slug, its id, or `current`.")]]
    response_format: NotRequired[TranscriptFormat]
    stream: NotRequired[_Flag]
    partials: NotRequired[
        Annotated[
            _Flag, Field(description="With `stream`: `transcript.text.partial`, the `text` so far, as well.")
        ]
    ]
    language: NotRequired[_Passed]
    prompt: NotRequired[_Passed]
    temperature: NotRequired[Annotated[float, Field(ge=0, le=1, description=_OR_REFUSED)]]
    timestamp_granularities: NotRequired[
        Annotated[Granularity, Field(alias="timestamp_granularities[]", description=_OR_REFUSED)]
    ]
    chunking_strategy: NotRequired[Literal["auto"]]


FIELDS = frozenset(TranscriptionForm.__annotations__) - {"file"}


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """Parameters of one recording."""

    form: str
    stream: bool
    partials: bool
    granularities: Sequence[str]
    options: ListeningOptions


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.post("/v1/audio/transcriptions", transcribe_recording),
        web.post("/v1/audio/translations", translate_recording),
    ]


async def transcribe_recording(request: web.Request) -> web.StreamResponse:
    """Transcribe a recording."""
    return await _answer(request, translate=False)


async def translate_recording(request: web.Request) -> web.StreamResponse:
    """Transcribe a recording in English, whatever is spoken in it."""
    return await _answer(request, translate=True)


async def _answer(request: web.Request, *, translate: bool) -> web.StreamResponse:
    upload = await read_upload(request)
    wish = parse_transcription_request(upload, translate=translate)
    async with lease_model(request, upload.get("model")) as agent:
        if not OverridePolicy.of(agent).accepts_language(wish.options.language):
            raise refuse_override("language", "language")
        stt = find_recogniser(agent, wish.options)
        limits = request.app[APP_CONTEXT].recordings
        sound = await decode_upload(upload, stt.sample_rate, limits, get_memory_hold(request))
        with record_turn(request, agent, "transcription") as turn:
            if wish.stream:
                events = _make_transcript_events(
                    stream_transcripts(stt, sound), sound, partials=wish.partials
                )
                return await send_answer(request, agent, events, TRANSCRIPT_FRAMES, turn)
            parts = await transcribe_sound(stt, sound)
            turn.take({})
            return _make_reply(agent, sound, parts, wish)


def parse_transcription_request(upload: AudioUpload, *, translate: bool) -> TranscriptionRequest:
    """Parse the fields of ``upload``. Raise ``Problem`` 400."""
    upload.refuse_others(FIELDS)
    form = upload.get("response_format") or "json"
    if form not in TRANSCRIPT_FORMATS:
        hint = f"ask for one of: {', '.join(TRANSCRIPT_FORMATS)}"
        raise bad_request("this response_format is not supported", hint=hint, param="response_format")
    stream = upload.is_requested("stream")
    if stream and form not in _STREAMED_FORMATS:
        raise bad_request(f"stream is not available with {form}", param="stream")
    if upload.get("chunking_strategy") not in ("", "auto"):
        raise bad_request("chunking_strategy must be auto", param="chunking_strategy")
    granularities = _parse_granularities(upload, form)
    options = ListeningOptions(
        language=_parse_language(upload.get("language")),
        prompt=upload.get("prompt").strip() or None,
        temperature=_parse_temperature(upload.get("temperature")),
        segments=form in TIMED_FORMATS and "segment" in granularities,
        words="word" in granularities,
        translate=translate,
    )
    return TranscriptionRequest(form, stream, upload.is_requested("partials"), granularities, options)


def _parse_granularities(upload: AudioUpload, form: str) -> Sequence[str]:
    found = [value for value in upload.fields.get("timestamp_granularities", ()) if value]
    param = "timestamp_granularities"
    if any(value not in GRANULARITIES for value in found):
        raise bad_request(f"{param} must be segment or word", param=param)
    if found and form != "verbose_json":
        hint = "ask for response_format=verbose_json"
        raise bad_request(f"{param} is not available with {form}", hint=hint, param=param)
    return found or GRANULARITIES[:1]


def _parse_language(text: str) -> str | None:
    """Return the language; None for ``auto``, which several servers have as the name of their default."""
    if text.lower() == "auto":
        return None
    if text and not _LANGUAGE.fullmatch(text):
        raise bad_request("language must be a code such as en", param="language")
    return text or None


def _parse_temperature(text: str) -> float | None:
    """Return the temperature; None for 0, which clients send as their default."""
    try:
        value = float(text or 0)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise bad_request("temperature must be 0 to 1", param="temperature")
    return value or None


def _make_reply(
    agent: LiveAgent, sound: Sound, parts: Sequence[Transcript], wish: TranscriptionRequest
) -> web.Response:
    headers = make_agent_headers(agent)
    task: Task = "translate" if wish.options.translate else "transcribe"
    language = "en" if wish.options.translate else agent.spec.language
    found = Recognised(parts, sound.seconds, wish.options.language or language or "", task)
    if wish.options.words and parts and not any(part.words for part in parts):
        hint = "leave it out, or ask an agent with another provider"
        message = "the recogniser sent no times of words"
        raise OptionRefused(message, param="timestamp_granularities", hint=hint)
    make_text = _TEXT_FORMATS.get(wish.form)
    if make_text is not None:
        kind = "text/vtt" if wish.form == "vtt" else "text/plain"
        return web.Response(text=make_text(found), content_type=kind, charset="utf-8", headers=headers)
    verbose = wish.form == "verbose_json"
    reply: Transcription = make_verbose(found, wish.granularities) if verbose else {"text": found.text}
    return make_reply({**reply, "usage": make_usage(sound)}, headers=headers)


def make_usage(sound: Sound) -> TranscriptionUsage:
    """Return the usage of one recording, which is paid by its length."""
    return {"type": "duration", "seconds": round(sound.seconds, 3)}


_TEXT_FORMATS = {"text": lambda found: found.text + "\n", "srt": make_srt, "vtt": make_vtt}


async def _make_transcript_events(
    parts: AsyncGenerator[Transcript, None], sound: Sound, *, partials: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events ``transcript.text.delta`` and ``.done``: final text as it is recognised."""
    text = ""
    async with aclosing(parts):
        async for part in parts:
            said = f" {part.text}" if text else part.text
            if part.final:
                text += said
                yield {"type": "transcript.text.delta", "delta": said}
            elif partials:
                yield {"type": "transcript.text.partial", "text": text + said}
    yield {"type": "transcript.text.done", "text": text, "usage": make_usage(sound)}
