"""Measure every format of sound, in and out: ``python -m tests.soak.sound [sentences]``.

A real ``agentsd up`` with an agent that speaks and listens offline (piper, moonshine), over HTTP, by OpenAI's
own client. Sentences are spoken in each format and recorded in each one that phones, browsers and programs
write; the table holds the share of words that were heard wrong, and how much later than of ``pcm`` the
first byte of a format comes. The exit code is 1 where more than 15 % of the words are wrong. The goal of the
first byte, 50 ms, is measured by ``tests.bench.sound``, whose voice answers at once: on a busy machine the
voice here differs by more from one time to the next.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from tests.bench.fleet import Fleet
from tests.bench.processes import up, workspace
from tests.local.speech import SENTENCES, error_rate

ERRORS_MAX = 0.15
COUNT = 4
ROUNDS = 20
MANIFEST: dict[str, Any] = {
    "name": "Offline",
    "tts": {"provider": "piper.local", "deterministic": True},
    "stt": {"provider": "moonshine.local"},
}
SPOKEN = ("pcm", "mp3", "opus", "aac", "flac", "wav")


@dataclass(frozen=True)
class Recorder:
    """How a device or a program records."""

    container: str
    codec: str
    layout: str = "mono"
    rate: int = 48_000
    bitrate: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)  # of the container


_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
RECORDED = {
    "webm": Recorder("webm", "libopus"),
    "live.webm": Recorder("webm", "libopus", "stereo", options={"live": "1"}),
    "ogg": Recorder("ogg", "libopus", "stereo"),
    "m4a": Recorder("ipod", "aac", rate=44_100),
    "mp4": Recorder("mp4", "aac", "stereo"),
    "fragmented.mp4": Recorder("mp4", "aac", options=_FRAGMENTS),
    "mpeg": Recorder("mpeg", "mp2", "stereo"),
    "mpga": Recorder("mp3", "libmp3lame", "stereo", 44_100),
    "alac.m4a": Recorder("ipod", "alac"),
    "mka": Recorder("matroska", "libopus", "5.1"),
    "3gp": Recorder("3gp", "libopencore_amrnb", rate=8_000, bitrate=12_200),
    "amr": Recorder("amr", "libopencore_amrnb", rate=8_000, bitrate=12_200),
    "caf": Recorder("caf", "alac", "stereo"),
    "aiff": Recorder("aiff", "pcm_s16be"),
    "8-bit.wav": Recorder("wav", "pcm_u8", rate=22_050),
    "24-bit.wav": Recorder("wav", "pcm_s24le", "stereo"),
    "float.wav": Recorder("wav", "pcm_f32le", "stereo", 96_000),
    "mulaw.wav": Recorder("wav", "pcm_mulaw", rate=8_000),
    "adpcm.wav": Recorder("wav", "adpcm_ima_wav"),
}
"""By the end of the file's name."""


@dataclass(frozen=True)
class Row:
    """One format: the share of wrong words, and for a spoken one its first byte's delay after pcm's."""

    name: str
    errors: float
    later_milliseconds: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.errors <= ERRORS_MAX


def measure(count: int = COUNT, rounds: int = ROUNDS) -> list[Row]:
    """Return a row for each format, from ``count`` sentences and ``rounds`` first bytes."""
    with workspace() as folder:
        fleet = Fleet(folder / "agents.d", folder / "no-key", 1)
        fleet.root.mkdir()
        fleet.key_file.write_text("")
        (fleet.root / "offline.yaml").write_text(json.dumps(MANIFEST))
        with up(fleet, folder, rate_limit="off", rate_limit_address="off") as server:
            return asyncio.run(_measure(server.url, count, rounds))


async def _measure(url: str, count: int, rounds: int) -> list[Row]:
    pairs: dict[str, list[tuple[str, str]]] = {}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=120) as client:
        for sentence in SENTENCES[:count]:
            for name, file in (await _make_files(client, sentence)).items():
                answer = await client.audio.transcriptions.create(model="offline", file=file)
                pairs.setdefault(name, []).append((sentence, answer.text))
        delays = await _measure_first_bytes(client, rounds)
    return [Row(name, error_rate(heard), delays.get(name)) for name, heard in pairs.items()]


File = tuple[str, bytes, str]


async def _make_files(client: openai.AsyncOpenAI, sentence: str) -> dict[str, File]:
    """The sentence in every format, by its name."""
    files: dict[str, File] = {}
    for form in SPOKEN:
        create: Any = client.audio.speech.create
        spoken = await create(model="offline", voice="any", input=sentence, response_format=form)
        kind = "audio/pcm;rate=24000" if form == "pcm" else "application/octet-stream"
        files[f"out {form}"] = (f"said.{form}", spoken.content, kind)
    wav = files["out wav"][1]
    for end, recorder in RECORDED.items():
        files[f"in {end}"] = (f"said.{end}", record(wav, recorder), "application/octet-stream")
    return files


def record(wav: bytes, recorder: Recorder) -> bytes:
    """A recording of ``wav`` by another device."""
    import av

    file, options = io.BytesIO(), dict(recorder.options)
    with (
        av.open(io.BytesIO(wav)) as source,
        av.open(file, "w", format=recorder.container, container_options=options) as out,
    ):
        stream: Any = out.add_stream(recorder.codec, rate=recorder.rate)
        stream.codec_context.layout = recorder.layout
        if recorder.bitrate:
            stream.codec_context.bit_rate = recorder.bitrate
        for frame in source.decode(audio=0):
            frame.pts = None
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


async def _measure_first_bytes(client: openai.AsyncOpenAI, rounds: int) -> dict[str, float]:
    """Milliseconds between the first byte of pcm and that of each format: the quickest of taking turns.

    The voice takes as long as the other work of the machine lets it: medians would compare that.
    """
    spent: dict[str, list[float]] = {form: [] for form in SPOKEN}
    for number in range(rounds):
        for form in SPOKEN if number % 2 else reversed(SPOKEN):
            spent[form].append(await _await_first_byte(client, form))
    pcm = min(spent["pcm"])
    return {f"out {form}": min(values) - pcm for form, values in spent.items()}


async def _await_first_byte(client: openai.AsyncOpenAI, form: str) -> float:
    """Milliseconds from the request to the first byte."""
    began = time.perf_counter()
    create: Any = client.audio.speech.with_streaming_response.create
    async with create(model="offline", voice="any", input="Good morning.", response_format=form) as reply:
        pieces = reply.iter_bytes()
        await anext(pieces)
        spent = (time.perf_counter() - began) * 1000
        async for _ in pieces:  # the voice that is cut off would still be busy when the next one begins
            pass
        return spent


def main(arguments: Sequence[str]) -> int:
    """Print the table; return the exit code."""
    rows = measure(int(arguments[0]) if arguments else COUNT)
    print(f"{'format':<26} {'words wrong':>11} {'later than pcm':>15}")
    for row in rows:
        later = "" if row.later_milliseconds is None else f"{row.later_milliseconds:.1f} ms"
        print(f"{row.name:<26} {row.errors:>11.1%} {later:>15}{'' if row.met else '  beyond the goal'}")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
