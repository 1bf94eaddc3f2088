"""Recordings as people have them: by ffmpeg, by phones' formats, by a real browser; and files that do harm.

``recordings/`` is "What are your opening hours?" of ``tests/services/hours.wav``, encoded by ffmpeg 5.1;
``browser.*`` is Chromium's MediaRecorder over the same sound, begun anywhere in it.
"""

from __future__ import annotations

import random
from array import array
from pathlib import Path

import pytest

from agentsd.audio.container import find_container
from agentsd.audio.decoder import decode_file
from agentsd.audio.encoder import FORMATS, make_encoder
from agentsd.audio.sound_file import RecordingLimits, decode_recording
from agentsd.audio.wav import make_stream_header
from agentsd.core.errors import RecordingRefused
from agentsd.sandbox.pool import MEMORY_MAX
from agentsd.sandbox.shared import get_recording_sandbox
from tests.services.speech import silence, spoken
from tests.services.test_sound import loudness

FILES = sorted(Path(__file__).with_name("recordings").iterdir())
RATE = 16_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_format_is_heard(path: Path) -> None:
    """As long as what was spoken, and loud; a browser's microphone has a gain of its own."""
    pcm = decode_file(path.read_bytes(), RATE, 60)
    seconds = len(pcm) / 2 / RATE
    assert seconds == pytest.approx(2.2 if path.stem == "browser" else 1.9, abs=0.2)
    assert loudness(pcm) > 0.25 * loudness(spoken(RATE))


def wav_of(data: bytes, *, code: int, bits: int, rate: int = RATE, channels: int = 1) -> bytes:
    """A WAV file of any kind."""
    head = bytearray(make_stream_header(rate))
    width = bits // 8 * channels
    for at, value, size in (
        (20, code, 2),
        (22, channels, 2),
        (28, rate * width, 4),
        (32, width, 2),
        (34, bits, 2),
    ):
        head[at : at + size] = value.to_bytes(size, "little")
    return bytes(head) + data


@pytest.mark.parametrize(
    ("kind", "code", "scale"),
    [("i1", 1, 128), ("<i2", 1, 32_768), ("<i4", 1, 1 << 31), ("<f4", 3, 1), ("<f8", 3, 1)],
)
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 3), (384_000, 1)])
async def test_every_wav_is_heard(kind: str, code: int, scale: int, rate: int, channels: int) -> None:
    """Any width, any number of channels, any rate: what was spoken, at the same loudness."""
    import numpy as np

    samples = np.frombuffer(spoken(rate), "<i2").astype("f8") / 32_768
    data = (samples * scale).clip(-scale, scale - 1 if scale > 1 else 1).astype(kind)
    packed = ((data.astype("i2") + 128).astype("u1") if kind == "i1" else data).repeat(channels).tobytes()
    file = wav_of(packed, code=code, bits=np.dtype(kind).itemsize * 8, rate=rate, channels=channels)
    sound = await decode_recording(file, RATE, RecordingLimits())
    assert sound.seconds == pytest.approx(1.85, abs=0.02)
    assert loudness(sound.pcm) == pytest.approx(loudness(spoken(RATE)), rel=0.1)


def encode(name: str, pcm: bytes, rate: int = RATE) -> bytes:
    """A file as this program speaks it."""
    encoder = make_encoder(FORMATS[name], rate)
    return encoder.encode(pcm) + encoder.finish()


@pytest.mark.parametrize("name", ["flac", "opus", "mp3"])
async def test_a_file_that_expands_is_refused(name: str) -> None:
    """A minute of silence in little space, where ten seconds are allowed."""
    data = encode(name, silence(60, RATE))
    with pytest.raises(RecordingRefused, match="longer than 10 seconds"):
        await decode_recording(data, RATE, RecordingLimits(seconds=10))
    with pytest.raises(RecordingRefused, match="longer than 10 seconds"):
        await decode_recording(
            make_stream_header(RATE) + silence(11, RATE), RATE, RecordingLimits(seconds=10)
        )


async def test_a_decoder_without_memory_is_a_refusal() -> None:
    """The operator's limit of a worker holds for recordings, too, and the next one is heard."""
    get_recording_sandbox.cache_clear()  # a new worker: one that has room already would not need more
    sandbox = get_recording_sandbox()
    sandbox.memory_max = 100 << 20
    with pytest.raises(RecordingRefused, match="memory"):
        await decode_recording(encode("flac", silence(60, RATE)), RATE, RecordingLimits())
    sandbox.memory_max = MEMORY_MAX
    assert (await decode_recording(FILES[0].read_bytes(), RATE, RecordingLimits())).pcm


PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    "text": b"hello",
    "empty": b"",
    "id3": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "mp4 without sound": b"\0\0\0\x14ftypisom\0\0\0\0isom" + b"\0\0\0\x08moov",
}


@pytest.mark.parametrize("data", PLAYLISTS.values(), ids=PLAYLISTS)
def test_what_refers_to_other_files_or_is_no_sound_is_refused(data: bytes) -> None:
    """Nothing but the file itself is ever read."""
    with pytest.raises(RecordingRefused):
        decode_file(data, RATE, 60)


def patched(name: str, mark: bytes, offset: int, value: bytes) -> bytes:
    """A recording with some bytes after ``mark`` replaced."""
    data = bytearray(next(path for path in FILES if path.name == name).read_bytes())
    at = data.index(mark) + offset
    data[at : at + len(value)] = value
    return bytes(data)


def test_what_a_file_declares_is_not_believed() -> None:
    """A duration of years, a rate of gigahertz, 65,535 channels."""
    long = patched("speech.m4a", b"mvhd", 20, b"\x7f\xff\xff\xff")
    assert len(decode_file(long, RATE, 60)) / 2 / RATE < 3
    for rate in (b"\xff\xff\xff\x7f", b"\1\0\0\0"):
        with pytest.raises(RecordingRefused, match="sample rate"):
            decode_file(patched("mulaw.wav", b"RIFF", 24, rate), RATE, 60)
    assert decode_file(patched("mulaw.wav", b"RIFF", 22, b"\xff\xff"), RATE, 60) == b""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_that_was_cut_off(path: Path) -> None:
    """What is there is heard, or it is refused; nothing else happens."""
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.95):
        try:
            pcm = decode_file(data[: int(len(data) * share)], RATE, 60)
        except RecordingRefused:
            continue
        assert len(pcm) / 2 / RATE < 2.5


def test_containers_are_known_by_their_first_bytes() -> None:
    """Tags before the frames are passed over; many of them are not."""
    frame = next(path for path in FILES if path.name == "speech.aac").read_bytes()
    tag = b"ID3\x04\0\0\0\0\0\0"
    assert [find_container(tag * count + frame) for count in (0, 1, 3)] == ["aac"] * 3
    assert find_container(b"\0" * 100) is None
    assert find_container(array("h", [7] * 50_000).tobytes()) is None


@pytest.mark.soak
async def test_damaged_recordings() -> None:
    """Of 1,500 damaged files each is heard or refused, and the worker goes on."""
    chance, heard = random.Random(12), 0
    for number in range(1_500):
        data = bytearray(FILES[number % len(FILES)].read_bytes())
        for _ in range(chance.choice((1, 3, 30, 300))):
            at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 200))
            data[at] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
        try:
            sound = await decode_recording(bytes(data), RATE, RecordingLimits(seconds=30))
        except RecordingRefused:
            continue
        heard += 1
        assert sound.seconds <= 30
    print(f"{heard} of 1,500 heard")
