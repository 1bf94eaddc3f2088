"""POST /v1/audio/transcriptions: OpenAI's interface, where ``model`` is an agent's slug.

The recording comes as a form (OpenAI's), or as the bare body with ``Content-Type: audio/wav`` or
``audio/pcm;rate=16000;channels=1`` and everything else in the query. ``prompt``, ``temperature``
and ``language`` are accepted and ignored: the manifest configures the recogniser. ``partials`` (an
extension) adds interim text that may still change to a stream, where the vendor sends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, ClientPayloadError, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from agentsd.audio.wav import CHANNELS_MAX, SAMPLE_RATES, BadWav, Sound, mix_to_mono, read_wav
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent, Transcript
from agentsd.services.transcription import stream_transcripts, transcribe_sound
from agentsd.web.agent_lookup import get_memory_hold
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request, from_error, make_internal_error
from agentsd.web.http.sse import SSE_HEADERS, write_frame
from agentsd.web.json_body import UPLOAD_SETTING, make_too_large
from agentsd.web.middleware.memory_budget import MemoryHold
from agentsd.web.middleware.request import log_unexpected_error
from agentsd.web.openai.models import lease_model, make_agent_headers

FIELD_BYTES_MAX = 64 << 10
FIELDS_MAX = 32
TRANSCRIPT_FORMATS = ("json", "text", "verbose_json")
_RAW_TYPE = "audio/pcm"
_DEFAULT_RATE = "16000"


@dataclass(frozen=True, slots=True)
class AudioUpload:
    """Recording and the fields that came with it."""

    fields: Mapping[str, str]
    audio: bytes
    kind: str  # its Content-Type, parameters included


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/transcriptions", transcribe_recording)]


async def transcribe_recording(request: web.Request) -> web.StreamResponse:
    """Transcribe a recording."""
    upload = await read_upload(request)
    form = upload.fields.get("response_format") or "json"
    if form not in TRANSCRIPT_FORMATS:
        hint = f"ask for one of: {', '.join(TRANSCRIPT_FORMATS)}"
        raise bad_request("this response_format is not supported", hint=hint, param="response_format")
    sound = await asyncio.to_thread(decode_upload, upload)
    async with lease_model(request, upload.fields.get("model")) as agent:
        if _is_requested(upload, "stream"):
            return await _stream_transcript(request, agent, sound, partials=_is_requested(upload, "partials"))
        text = await transcribe_sound(agent, sound)
        return _make_reply(agent, sound, text, form)


async def read_upload(request: web.Request) -> AudioUpload:
    """Read the recording, from a form or the bare body. Raise ``Problem`` 400, 413 and 415."""
    if (
        request.content_length is not None
        and request.content_length > get_upload_limit(request) + FIELD_BYTES_MAX * FIELDS_MAX
    ):
        raise make_too_large(get_upload_limit(request), UPLOAD_SETTING)
    try:
        return await _read_request(request)
    except (ValueError, AssertionError, HttpProcessingError, ClientPayloadError, web.RequestPayloadError):
        raise bad_request("the body cannot be read: it is cut short or badly encoded") from None


async def _read_request(request: web.Request) -> AudioUpload:
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind.startswith("audio/"):
        limit, hold = get_upload_limit(request), get_memory_hold(request)
        audio = await _read_bounded(request.content.iter_any(), limit, hold, UPLOAD_SETTING)
        return AudioUpload(dict(request.query), audio, request.headers.get("Content-Type", ""))
    hint = "send multipart/form-data with the fields file and model, or the recording itself as audio/wav"
    raise bad_request("the body is not a recording", hint=hint, status=415)


def decode_upload(upload: AudioUpload) -> Sound:
    """Decode the recording to PCM. Raise ``Problem`` 400."""
    kind, options = _parse_content_type(upload.kind)
    if kind == _RAW_TYPE and upload.audio[:4] != b"RIFF":
        rate = _parse_number(options.get("rate", _DEFAULT_RATE), SAMPLE_RATES, "rate")
        channels = _parse_number(options.get("channels", "1"), range(1, CHANNELS_MAX + 1), "channels")
        sound = Sound(rate, mix_to_mono(upload.audio, channels))
    else:
        sound = _decode_wav(upload.audio)
    if not sound.pcm:
        raise bad_request("the recording is empty", param="file")
    return sound


def _decode_wav(audio: bytes) -> Sound:
    try:
        return read_wav(audio)
    except BadWav as error:
        hint = "send WAV, or 16-bit PCM with Content-Type: audio/pcm;rate=16000"
        raise bad_request(f"the recording cannot be read: {error}", hint=hint, param="file") from None


async def _read_form(request: web.Request) -> AudioUpload:
    fields: dict[str, str] = {}
    audio, kind = None, ""
    reader, hold, parts = await request.multipart(), get_memory_hold(request), 0
    while (part := await reader.next()) is not None:
        parts += 1
        if isinstance(part, MultipartReader) or parts > FIELDS_MAX:
            raise bad_request("the form is nested, or has too many fields")
        if part.name == "file" and audio is not None:
            raise bad_request("the form has more than one recording", param="file")
        if part.name == "file":
            limit = get_upload_limit(request)
            audio = await _read_bounded(_iterate_chunks(part), limit, hold, UPLOAD_SETTING)
            kind = part.headers.get("Content-Type", "")
        else:
            data = await _read_bounded(_iterate_chunks(part), FIELD_BYTES_MAX, hold)
            fields[part.name or ""] = data.decode("utf-8", "replace")
    if audio is None:
        raise bad_request("the form has no recording", hint="send it as the field file", param="file")
    return AudioUpload(fields, audio, kind)


async def _iterate_chunks(part: BodyPartReader) -> AsyncGenerator[bytes, None]:
    while chunk := await part.read_chunk(1 << 16):
        yield chunk


def get_upload_limit(request: web.Request) -> int:
    """Return the maximum bytes of a recording."""
    return request.app[APP_CONTEXT].max_upload


async def _read_bounded(
    chunks: AsyncIterator[bytes], limit: int, hold: MemoryHold, setting: str = ""
) -> bytes:
    """Read all ``chunks``; count them twice, since they are decoded later. Raise ``Problem`` 413 and 429."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise make_too_large(limit, setting)
        hold.grow(2 * len(chunk))
    return bytes(data)


def _parse_content_type(content_type: str) -> tuple[str, dict[str, str]]:
    kind, *rest = content_type.split(";")
    pairs = (item.partition("=") for item in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _parse_number(text: str, allowed: range, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) in allowed):
        raise bad_request(f"{name} must be {allowed.start} to {allowed.stop - 1}", param=name)
    return int(text)


def _make_reply(agent: LiveAgent, sound: Sound, text: str, form: str) -> web.Response:
    headers = make_agent_headers(agent)
    if form == "text":
        return web.Response(text=text + "\n", content_type="text/plain", headers=headers)
    body: dict[str, Any] = {"text": text}
    if form == "verbose_json":  # vendors send no timestamps, so there are no segments
        language = agent.spec.language or ""
        body |= {"task": "transcribe", "language": language, "duration": round(sound.seconds, 3)}
    return web.Response(body=to_json(body), content_type="application/json", headers=headers)


def _is_requested(upload: AudioUpload, name: str) -> bool:
    return upload.fields.get(name, "").lower() in ("true", "1")


async def _stream_transcript(
    request: web.Request, agent: LiveAgent, sound: Sound, *, partials: bool
) -> web.StreamResponse:
    """Stream server-sent events ``transcript.text.delta`` and ``.done``: final text as it is recognised."""
    async with aclosing(
        _make_transcript_events(stream_transcripts(agent, sound), partials=partials)
    ) as frames:
        first = await anext(frames)  # before the first frame, an error is an HTTP status
        response = web.StreamResponse(headers={**SSE_HEADERS, **make_agent_headers(agent)})
        await response.prepare(request)
        try:
            await write_frame(response, first)
            async for frame in frames:
                await write_frame(response, frame)
        except AgentsdError as error:
            await write_frame(response, _encode_frame(from_error(error).as_openai()))
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            log_unexpected_error(error)
            await write_frame(response, _encode_frame(make_internal_error().as_openai()))
        await response.write_eof()
        return response


async def _make_transcript_events(
    parts: AsyncGenerator[Transcript, None], *, partials: bool
) -> AsyncGenerator[bytes, None]:
    text = ""
    async with aclosing(parts):
        async for part in parts:
            said = f" {part.text}" if text else part.text
            if part.final:
                text += said
                yield _encode_frame({"type": "transcript.text.delta", "delta": said})
            elif partials:
                yield _encode_frame({"type": "transcript.text.partial", "text": text + said})
    yield _encode_frame({"type": "transcript.text.done", "text": text})


def _encode_frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
