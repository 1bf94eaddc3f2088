"""Uploads of recordings: OpenAI's form, or the bare recording with everything else in the query."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from aiohttp import BodyPartReader, ClientPayloadError, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from agentsd.audio.container import find_marked_container
from agentsd.audio.decoder import make_too_long_error
from agentsd.audio.sound_file import RecordingLimits, decode_recording
from agentsd.audio.wav import CHANNELS_MAX, SAMPLE_RATES, Sound, mix_to_mono
from agentsd.core.errors import LimitExceeded, RecordingRefused
from agentsd.core.names import quote_word
from agentsd.web.agent_lookup import get_memory_hold
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.json_body import UPLOAD_SETTING, make_too_large
from agentsd.web.middleware.memory_budget import MemoryHold

FIELD_BYTES_MAX = 64 << 10
FIELDS_MAX = 32
_RAW_TYPE = "audio/pcm"
_BARE_TYPES = ("audio/", "video/", "application/ogg", "application/octet-stream")
"""Types of a bare recording. What it is, is read from its first bytes; without a type, it is the last one."""
_PATH_CHARACTERS_MAX = 4096
_DEFAULT_RATE = "16000"
_LIST_MARK = re.compile(r"\[\d*\]\Z", re.ASCII)
"""End of the name of a field that comes several times: ``[]``, or ``[0]`` as some clients number them."""


@dataclass(slots=True)
class AudioUpload:
    """Recording and the fields that came with it; one whose name ends in ``[]`` may come several times."""

    fields: Mapping[str, Sequence[str]]
    audio: bytes
    kind: str  # its Content-Type, parameters included

    def get(self, name: str) -> str:
        """Return the last value of a field; an empty string where it is absent."""
        return self.fields.get(name, ("",))[-1]

    def is_requested(self, name: str) -> bool:
        """Return whether a field is true."""
        return self.get(name).lower() in ("true", "1")

    def refuse_others(self, known: Collection[str]) -> None:
        """Raise ``Problem`` 400 for a field that is not ``known`` and not empty."""
        for name, values in self.fields.items():
            if name not in known and any(values):
                shown = _show_name(name)
                hint = f"leave it out; known fields are: {', '.join(sorted(known))}"
                raise bad_request(f"{shown or 'a field'} is not supported here", hint=hint, param=shown)


def _show_name(name: str) -> str | None:
    """Return a field's name if an error may quote it."""
    return quote_word(name, "") or None


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


async def decode_upload(upload: AudioUpload, rate: int, limits: RecordingLimits, hold: MemoryHold) -> Sound:
    """Decode the recording, for a recogniser at ``rate`` hertz; ``hold`` counts it in place of the upload.

    The upload's bytes are given up. Raise ``Problem`` 400, 429 and 503.
    """
    audio, upload.audio = upload.audio, b""
    if not audio:
        raise _make_empty()
    try:
        sound = await asyncio.to_thread(_read_samples, audio, upload.kind, limits, rate)
        sound = sound or await decode_recording(audio, rate, limits, hold.owner)
    except RecordingRefused as error:
        detail = f"the recording {error.message}"
        raise bad_request(detail, hint=error.hint, param="file") from None
    except LimitExceeded:
        message, hint = "too many recordings are being decoded", "try again in a moment"
        raise Problem(503, "busy", message, hint=hint, headers={"Retry-After": "5"}) from None
    if not sound.pcm:
        raise _make_empty()
    hold.set(0)
    hold.grow(2 * len(sound.pcm))
    return sound


def _make_empty() -> Problem:
    return bad_request("the recording is empty", param="file")


def _read_samples(audio: bytes, content_type: str, limits: RecordingLimits, rate: int) -> Sound | None:
    """Return the sound of bare samples; None for a file. Raises ``RecordingRefused``."""
    kind, options = _parse_content_type(content_type)
    if kind != _RAW_TYPE or find_marked_container(audio):
        return None
    source = _parse_number(options.get("rate", _DEFAULT_RATE), SAMPLE_RATES, "rate")
    channels = _parse_number(options.get("channels", "1"), range(1, CHANNELS_MAX + 1), "channels")
    sound = Sound(source, mix_to_mono(audio, channels))
    if sound.seconds > limits.seconds_at(rate):
        raise make_too_long_error(limits.seconds_at(rate))
    return sound


async def _read_request(request: web.Request) -> AudioUpload:
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind.startswith(_BARE_TYPES):
        limit, hold = get_upload_limit(request), get_memory_hold(request)
        audio = await _read_bounded(request.content.iter_any(), limit, hold, UPLOAD_SETTING)
        fields: dict[str, list[str]] = {}
        for name, value in request.query.items():
            fields.setdefault(_LIST_MARK.sub("", name), []).append(value)
        return AudioUpload(fields, audio, request.headers.get("Content-Type", ""))
    hint = "send multipart/form-data with the fields file and model, or the recording itself as audio/wav"
    raise bad_request("the body is not a recording", hint=hint, status=415)


async def _read_form(request: web.Request) -> AudioUpload:
    fields: dict[str, list[str]] = {}
    audio, kind = None, ""
    if "boundary" not in _parse_content_type(request.headers["Content-Type"])[1]:
        hint = "let the HTTP library set the header Content-Type"
        raise bad_request("the Content-Type multipart/form-data has no boundary", hint=hint)
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
            _refuse_path(part, audio)
        else:
            _refuse_file(part)
            data = await _read_bounded(_iterate_chunks(part), FIELD_BYTES_MAX, hold)
            name = _LIST_MARK.sub("", part.name or "")
            fields.setdefault(name, []).append(data.decode("utf-8", "replace"))
    if audio is None:
        raise bad_request("the form has no recording", hint="send it as the field file", param="file")
    return AudioUpload(fields, audio, kind)


def _refuse_path(part: BodyPartReader, data: bytes) -> None:
    """Raise ``Problem`` 400 for a text in place of a file, as ``curl -F file=PATH`` sends it."""
    if (
        part.filename is None
        and 0 < len(data) < _PATH_CHARACTERS_MAX
        and data.decode("latin-1").isprintable()
    ):
        hint = "curl sends the contents of a file with file=@PATH"
        raise bad_request("file is a text, not a recording", hint=hint, param="file")


def _refuse_file(part: BodyPartReader) -> None:
    """Raise ``Problem`` 400 for a file in another field."""
    if part.filename is not None:
        shown = _show_name(_LIST_MARK.sub("", part.name or ""))
        detail = f"{shown or 'a field'} is a file, which belongs in the field file"
        raise bad_request(detail, hint="send one recording, as the field file", param=shown or "file")


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
    data = BytesIO()  # its value is no copy
    async for chunk in chunks:
        if data.tell() + len(chunk) > limit:
            raise make_too_large(limit, setting)
        data.write(chunk)
        hold.grow(2 * len(chunk))
    return data.getvalue()


def _parse_content_type(content_type: str) -> tuple[str, dict[str, str]]:
    kind, *rest = content_type.split(";")
    pairs = (item.partition("=") for item in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _parse_number(text: str, allowed: range, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) in allowed):
        raise bad_request(f"{name} must be {allowed.start} to {allowed.stop - 1}", param=name)
    return int(text)
