"""Recordings of people, decoded beside the event loop: WAV here, every other format in a worker process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentsd.audio.container import find_container
from agentsd.audio.decoder import can_decode, decode_file, make_too_long_error
from agentsd.audio.wav import BadWav, Sound, read_wav
from agentsd.core.errors import FunctionFailed, LimitExceeded, RecordingRefused, WorkerFailed
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.shared import get_recording_sandbox

SECONDS_MAX = 7_200.0
"""Longest recording, by default."""
DECODED_BYTES_MAX = 256 << 20
"""Bytes of one decoded recording: two hours and twenty minutes at 16 kHz."""
EXTRA_HINT = "send plain WAV or PCM; the operator of this server can install agentsd with the extra audio"

_MEMORY_BYTES = 1 << 30
_CPU_SECONDS_MIN, _CPU_SECONDS_MAX, _CPU_SECONDS_PER_MIB = 10.0, 60.0, 5.0


@dataclass(frozen=True, slots=True)
class RecordingLimits:
    """Bounds of one recording once it is decoded."""

    seconds: float = SECONDS_MAX

    def seconds_at(self, rate: int) -> float:
        """Return the longest duration at ``rate`` hertz."""
        return min(self.seconds, DECODED_BYTES_MAX / 2 / rate)


async def decode_recording(data: bytes, rate: int, limits: RecordingLimits, owner: str = "") -> Sound:
    """Decode a file of any known format, whose owner is ``owner``.

    The sound is at ``rate`` hertz, or at the file's own where it is a plain WAV. Raises ``RecordingRefused``,
    and ``LimitExceeded`` where no worker is free in time.
    """
    sound = await _read_wav(data) if find_container(data) == "wav" else None
    if sound is None:
        if not can_decode():
            raise RecordingRefused("needs a decoder that is not installed here", hint=EXTRA_HINT)
        sound = Sound(rate, await _decode_in_worker(data, rate, limits.seconds_at(rate), owner))
    if sound.seconds > limits.seconds_at(rate):
        raise make_too_long_error(limits.seconds_at(rate))
    return sound


async def _read_wav(data: bytes) -> Sound | None:
    """Return the sound of a plain WAV; None for one that needs a decoder."""
    try:
        return await asyncio.to_thread(read_wav, data)
    except BadWav as error:
        if can_decode():
            return None
        raise RecordingRefused(f"cannot be read: {error}", hint=EXTRA_HINT) from None


async def _decode_in_worker(data: bytes, rate: int, seconds: float, owner: str) -> bytes:
    mebibytes = len(data) / (1 << 20)
    cpu = min(_CPU_SECONDS_MAX, _CPU_SECONDS_MIN + _CPU_SECONDS_PER_MIB * mebibytes)
    limits = CallLimits(
        memory=_MEMORY_BYTES, cpu_seconds=cpu, wall_seconds=4 * cpu, output_bytes=DECODED_BYTES_MAX
    )
    try:
        return await get_recording_sandbox().run(decode_file, data, rate, seconds, limits=limits, key=owner)
    except LimitExceeded as error:
        if error.limit == "queue":
            raise
    except (WorkerFailed, FunctionFailed) as error:
        if not isinstance(error, FunctionFailed) or error.kind != "ImportError":  # no room for the library
            hint = "save it anew, as WAV or MP3"
            raise RecordingRefused("is damaged: decoding it failed", hint=hint) from None
    hint = "send it in parts, or in another format"
    raise RecordingRefused("takes too much memory or time to decode", hint=hint)
