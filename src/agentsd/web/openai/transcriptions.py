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

from agentsd.audio.wav import CHANNELS_MAX, RATES, BadWav, Sound, read_wav, to_mono
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent, Transcript
from agentsd.services.transcription import follow, transcribe
from agentsd.web.agent_lookup import hold_of
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request, internal, of_error
from agentsd.web.http.sse import SSE_HEADERS, write
from agentsd.web.json_body import too_large
from agentsd.web.middleware.memory_budget import Hold
from agentsd.web.middleware.request import report
from agentsd.web.openai.models import agent_headers, lease_model

AUDIO_MAX = 25 << 20
"""Bytes of a recording; OpenAI's own limit."""
FIELD_MAX = 64 << 10
FIELDS_MAX = 32
FORMATS = ("json", "text", "verbose_json")
_RAW = "audio/pcm"
_DEFAULT_RATE = "16000"


@dataclass(frozen=True, slots=True)
class Upload:
    """Recording and the fields that came with it."""

    fields: Mapping[str, str]
    audio: bytes
    kind: str  # its Content-Type, parameters included


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/transcriptions", transcriptions)]


async def transcriptions(request: web.Request) -> web.StreamResponse:
    """Transcribe a recording."""
    upload = await read_upload(request)
    form = upload.fields.get("response_format") or "json"
    if form not in FORMATS:
        hint = f"ask for one of: {', '.join(FORMATS)}"
        raise bad_request("this response_format is not made here", hint=hint, param="response_format")
    sound = await asyncio.to_thread(sound_of, upload)
    async with lease_model(request, upload.fields.get("model")) as agent:
        if _asked(upload, "stream"):
            return await _stream(request, agent, sound, partials=_asked(upload, "partials"))
        text = await transcribe(agent, sound)
        return _reply(agent, sound, text, form)


async def read_upload(request: web.Request) -> Upload:
    """Read the recording, from a form or the bare body. Raise ``Problem`` 400, 413 and 415."""
    if request.content_length is not None and request.content_length > AUDIO_MAX + FIELD_MAX * FIELDS_MAX:
        raise too_large(AUDIO_MAX)
    try:
        return await _read(request)
    except (ValueError, AssertionError, HttpProcessingError, ClientPayloadError, web.RequestPayloadError):
        raise bad_request("the body cannot be read: it is cut short or badly encoded") from None


async def _read(request: web.Request) -> Upload:
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind.startswith("audio/"):
        audio = await _bounded(request.content.iter_any(), AUDIO_MAX, hold_of(request))
        return Upload(dict(request.query), audio, request.headers.get("Content-Type", ""))
    hint = "send multipart/form-data with the fields file and model, or the recording itself as audio/wav"
    raise bad_request("the body is no recording", hint=hint, status=415)


def sound_of(upload: Upload) -> Sound:
    """Decode the recording to PCM. Raise ``Problem`` 400."""
    kind, options = _parsed(upload.kind)
    if kind == _RAW and upload.audio[:4] != b"RIFF":
        rate = _number(options.get("rate", _DEFAULT_RATE), RATES, "rate")
        channels = _number(options.get("channels", "1"), range(1, CHANNELS_MAX + 1), "channels")
        sound = Sound(rate, to_mono(upload.audio, channels))
    else:
        sound = _wav(upload.audio)
    if not sound.pcm:
        raise bad_request("the recording is empty", param="file")
    return sound


def _wav(audio: bytes) -> Sound:
    try:
        return read_wav(audio)
    except BadWav as error:
        hint = "send WAV, or 16-bit PCM with Content-Type: audio/pcm;rate=16000"
        raise bad_request(f"the recording cannot be read: {error}", hint=hint, param="file") from None


async def _read_form(request: web.Request) -> Upload:
    fields: dict[str, str] = {}
    audio, kind = None, ""
    reader, hold, parts = await request.multipart(), hold_of(request), 0
    while (part := await reader.next()) is not None:
        parts += 1
        if isinstance(part, MultipartReader) or parts > FIELDS_MAX:
            raise bad_request("the form is nested, or has too many fields")
        if part.name == "file" and audio is not None:
            raise bad_request("the form has more than one recording", param="file")
        if part.name == "file":
            audio = await _bounded(_chunks(part), AUDIO_MAX, hold)
            kind = part.headers.get("Content-Type", "")
        else:
            data = await _bounded(_chunks(part), FIELD_MAX, hold)
            fields[part.name or ""] = data.decode("utf-8", "replace")
    if audio is None:
        raise bad_request("the form has no recording", hint="send it as the field file", param="file")
    return Upload(fields, audio, kind)


async def _chunks(part: BodyPartReader) -> AsyncGenerator[bytes, None]:
    while chunk := await part.read_chunk(1 << 16):
        yield chunk


async def _bounded(chunks: AsyncIterator[bytes], limit: int, hold: Hold) -> bytes:
    """Read all ``chunks``; count them twice, since they are decoded later. Raise ``Problem`` 413 and 429."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise too_large(limit)
        hold.grow(2 * len(chunk))
    return bytes(data)


def _parsed(content_type: str) -> tuple[str, dict[str, str]]:
    kind, *rest = content_type.split(";")
    pairs = (item.partition("=") for item in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _number(text: str, allowed: range, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) in allowed):
        raise bad_request(f"{name} must be {allowed.start} to {allowed.stop - 1}", param=name)
    return int(text)


def _reply(agent: LiveAgent, sound: Sound, text: str, form: str) -> web.Response:
    headers = agent_headers(agent)
    if form == "text":
        return web.Response(text=text + "\n", content_type="text/plain", headers=headers)
    body: dict[str, Any] = {"text": text}
    if form == "verbose_json":  # vendors tell no times of words, so there are no segments
        language = agent.spec.language or ""
        body |= {"task": "transcribe", "language": language, "duration": round(sound.seconds, 3)}
    return web.Response(body=to_json(body), content_type="application/json", headers=headers)


def _asked(upload: Upload, name: str) -> bool:
    return upload.fields.get(name, "").lower() in ("true", "1")


async def _stream(
    request: web.Request, agent: LiveAgent, sound: Sound, *, partials: bool
) -> web.StreamResponse:
    """Stream server-sent events ``transcript.text.delta`` and ``.done``: final text as it is recognised."""
    async with aclosing(_told(follow(agent, sound), partials=partials)) as frames:
        first = await anext(frames)  # until it is here, an error is an HTTP status
        response = web.StreamResponse(headers={**SSE_HEADERS, **agent_headers(agent)})
        await response.prepare(request)
        try:
            await write(response, first)
            async for frame in frames:
                await write(response, frame)
        except AgentsdError as error:
            await write(response, _frame(of_error(error).as_openai()))
        except ConnectionError:
            raise  # the client left
        except Exception as error:
            report(error)
            await write(response, _frame(internal().as_openai()))
        await response.write_eof()
        return response


async def _told(parts: AsyncGenerator[Transcript, None], *, partials: bool) -> AsyncGenerator[bytes, None]:
    text = ""
    async with aclosing(parts):
        async for part in parts:
            said = f" {part.text}" if text else part.text
            if part.final:
                text += said
                yield _frame({"type": "transcript.text.delta", "delta": said})
            elif partials:
                yield _frame({"type": "transcript.text.partial", "text": text + said})
    yield _frame({"type": "transcript.text.done", "text": text})


def _frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
