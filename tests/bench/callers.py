"""Callers in real time: 20 ms of microphone every 20 ms over a WebSocket, and when sound comes back.

What a caller says is made into messages once, before anything is measured, so that a hundred callers cost
little beside the server that they call.
"""

from __future__ import annotations

import array
import asyncio
import base64
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from agentsd.audio.resampler import Resampler

PIECE_SECONDS = 0.02
LOUD = 300
"""Amplitude from which a sample belongs to the voice."""
HISS = 6
"""Amplitude of a room."""
GAP_SECONDS = 0.4
"""Silence of the server after which its answer has stopped."""


@dataclass(frozen=True)
class Script:
    """What a caller says, again and again. ``marks``: (name, number of the piece)."""

    pieces: tuple[bytes, ...]
    marks: tuple[tuple[str, int], ...]

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return len(self.pieces) * PIECE_SECONDS


def make_script(*parts: tuple[str, bytes | float], rate: int) -> Script:
    """Return parts one after the other: (name, sound at ``rate``), or ("", seconds of silence).

    A sound marks ``NAME-begins`` and ``NAME-ends``: its first and last loud piece.
    """
    size = int(rate * PIECE_SECONDS) * 2
    sound, marks = bytearray(), []
    for name, part in parts:
        begins = len(sound) // size
        pcm = bytes(int(part * rate) * 2) if isinstance(part, float) else part
        sound += pcm + bytes(-len(pcm) % size)
        if name:
            first, last = _find_loud(pcm)
            marks += [
                (f"{name}-begins", begins + first * 2 // size),
                (f"{name}-ends", begins + last * 2 // size),
            ]
    noisy = _add_hiss(bytes(sound))
    return Script(tuple(noisy[at : at + size] for at in range(0, len(noisy), size)), tuple(marks))


def _find_loud(pcm: bytes) -> tuple[int, int]:
    loud = [at for at, sample in enumerate(array.array("h", pcm)) if abs(sample) > LOUD]
    return loud[0], loud[-1]


def _add_hiss(pcm: bytes) -> bytes:
    rng = random.Random(1)
    samples = (sample + round(rng.gauss(0, HISS)) for sample in array.array("h", pcm))
    return array.array("h", (max(-32768, min(32767, one)) for one in samples)).tobytes()


def resample(pcm: bytes, source: int, target: int) -> bytes:
    """Return the sound at another rate."""
    return Resampler(source, target).take(pcm, last=True)


@dataclass
class CallLog:
    """What one caller sent and heard, in seconds of one clock."""

    marks: list[tuple[str, float]] = field(default_factory=list)
    sounds: list[float] = field(default_factory=list)
    confirmed: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def first_sounds(self, mark: str) -> list[float]:
        """Return milliseconds from each mark to the next sound; infinite where none came before the next."""
        at = [when for name, when in self.marks if name == mark]
        waits = []
        for begun, until in zip(at, [*at[1:], float("inf")], strict=True):
            first = next((when for when in self.sounds if begun < when < until), float("inf"))
            waits.append((first - begun) * 1000)
        return waits

    def held(self, mark: str) -> list[float]:
        """Return milliseconds from each mark to the last sound before a gap; only where sound was playing."""
        spent = []
        for name, begun in self.marks:
            recent = any(begun - GAP_SECONDS < when <= begun for when in self.sounds)
            if name != mark or not recent:
                continue
            last = begun
            for when in self.sounds:
                if last < when < last + GAP_SECONDS:
                    last = when
            spent.append((last - begun) * 1000)
        return spent

    def confirmations(self, mark: str) -> list[float]:
        """Return milliseconds from each mark to the confirmed interruption, where there was one."""
        at = [when for name, when in self.marks if name == mark]
        firsts = (next((c for c in self.confirmed if begun < c < begun + 2), None) for begun in at)
        return [(first - begun) * 1000 for begun, first in zip(at, firsts, strict=True) if first is not None]


@dataclass(frozen=True)
class Dialect:
    """How a server is spoken to: a message from a piece of sound, and what a message of it means."""

    url: str
    rate: int  # hertz of the microphone
    wrap: Callable[[bytes], str | bytes]
    meaning: Callable[[str | bytes], str]  # "sound", "confirmed", "error" or ""
    first: tuple[str, ...] = ()  # sent before any sound


def speak_realtime(url: str, agent: str) -> Dialect:
    """Return OpenAI's Realtime API."""

    def wrap(pcm: bytes) -> str:
        return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(pcm).decode()}"}}'

    kinds = {
        '"type":"response.output_audio.delta"': "sound",
        '"type":"input_audio_buffer.speech_started"': "confirmed",
        '"type":"error"': "error",
    }

    def read(data: str | bytes) -> str:
        head = str(data)[:160]
        return next((meaning for text, meaning in kinds.items() if text in head), "")

    first = '{"type":"session.update","session":{"type":"realtime"}}'
    return Dialect(f"{url}/v1/realtime?model={agent}", 24_000, wrap, read, (first,))


def speak_binary(url: str, rate: int) -> Dialect:
    """Return bare sound in binary messages, and an event in each text: what the peers' programs speak."""

    def read(data: str | bytes) -> str:
        if isinstance(data, str):
            return data
        return "sound" if data.strip(b"\0") else ""

    return Dialect(url, rate, bytes, read)


async def make_calls(dialect: Dialect, script: Script, calls: int, rounds: int) -> list[CallLog]:
    """Let so many callers say the script so many times, each from another moment on."""
    messages = [dialect.wrap(piece) for piece in script.pieces]
    marks: dict[int, list[str]] = {}
    for name, at in script.marks:
        marks.setdefault(at, []).append(name)
    logs = [CallLog() for _ in range(calls)]
    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
        for number, log in enumerate(logs):
            late = script.seconds * number / calls
            tasks.create_task(_call(client, dialect, log, messages, marks, rounds, late))
    return logs


async def _call(
    client: aiohttp.ClientSession,
    dialect: Dialect,
    log: CallLog,
    messages: Sequence[str | bytes],
    marks: dict[int, list[str]],
    rounds: int,
    late: float,
) -> None:
    """Make one call. A server that refuses it, or ends it, is an error in the log."""
    await asyncio.sleep(late)
    try:
        async with client.ws_connect(dialect.url, max_msg_size=0) as socket:
            hearing = asyncio.create_task(_hear(socket, dialect, log))
            try:
                await _speak(socket, dialect, log, messages, marks, rounds)
            finally:
                hearing.cancel()
    except (aiohttp.ClientError, ConnectionError) as error:
        log.errors.append(type(error).__name__)


async def _speak(
    socket: aiohttp.ClientWebSocketResponse,
    dialect: Dialect,
    log: CallLog,
    messages: Sequence[str | bytes],
    marks: dict[int, list[str]],
    rounds: int,
) -> None:
    for text in dialect.first:
        await socket.send_str(text)
    began, number = time.perf_counter(), 0
    for _ in range(rounds):
        for at, message in enumerate(messages):
            number += 1
            await asyncio.sleep(max(0.0, began + number * PIECE_SECONDS - time.perf_counter()))
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            log.marks += [(name, time.perf_counter()) for name in marks.get(at, ())]


async def _hear(socket: aiohttp.ClientWebSocketResponse, dialect: Dialect, log: CallLog) -> None:
    async for message in socket:
        now = time.perf_counter()
        meaning = dialect.meaning(message.data)
        if meaning == "sound":
            log.sounds.append(now)
        elif meaning == "confirmed":
            log.confirmed.append(now)
        elif meaning == "error":
            log.errors.append(str(message.data)[:300])
