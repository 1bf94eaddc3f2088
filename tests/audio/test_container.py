"""Containers by their first bytes: what has no mark is told from noise by two headers in a row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agentsd.audio.container import find_container, find_marked_container
from agentsd.audio.decoder import decode_file
from agentsd.audio.encoder import FORMATS, make_encoder
from agentsd.core.errors import RecordingRefused
from tests.services.speech import silence, spoken

RECORDINGS = Path(__file__).with_name("recordings")
TAG = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
MPEG_AND_ADTS = {"speech.mp3": "mp3", "speech.mpga": "mp3", "speech.aac": "aac"}


@pytest.mark.parametrize("name", MPEG_AND_ADTS)
@pytest.mark.parametrize("before", [b"", TAG, TAG * 3, bytes(4_000), b"\xff\xe0" * 50])
def test_frames_are_found_after_tags_and_rubbish(name: str, before: bytes) -> None:
    """Also in a file that was cut in the middle of a frame."""
    data = (RECORDINGS / name).read_bytes()
    assert find_container(before + data) == MPEG_AND_ADTS[name]
    assert find_container(data[1_111:]) == MPEG_AND_ADTS[name]


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_frames_of_every_rate(name: str, rate: int) -> None:
    """As our own encoder makes them."""
    encoder = make_encoder(FORMATS[name], rate)
    data = encoder.encode(silence(0.3, rate)) + encoder.finish()
    assert find_container(data.removeprefix(data[: data.index(b"\xff")])) == name


def test_noise_is_not_a_recording() -> None:
    """Samples without a header, and what happens to have a sync word."""
    assert find_container(spoken(16_000)) is None
    chance = random.Random(7)
    for _ in range(100):
        noise = bytearray(chance.randbytes(3_000))
        for at in chance.sample(range(1, 2_998), 30):
            noise[at : at + 2] = b"\xff" + chance.choice((b"\xfb", b"\xf1", b"\xe3"))
        assert find_container(bytes(noise)) is None
        assert find_marked_container(bytes(noise)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + bytes(8) + b"wave" + spoken(16_000),
        b"RIFF\0\0\1\0AVI LIST" + spoken(16_000),
        b"FLV\1\5\0\0\0\x09" + spoken(16_000),
        b"<!doctype html><title>404</title>",
    ],
    ids=["w64", "avi", "flv", "html"],
)
def test_other_files_are_refused_as_unknown(data: bytes) -> None:
    """Not as damaged MP3, which they would be called by a sync word in them."""
    with pytest.raises(RecordingRefused, match="not in a known format"):
        decode_file(data, 16_000, 60)


def test_a_later_part_of_a_live_recording() -> None:
    """A browser's recorder puts the head into its first part alone."""
    data = (RECORDINGS / "live.webm").read_bytes()
    with pytest.raises(RecordingRefused) as refused:
        decode_file(data[data.index(b"\x1f\x43\xb6\x75") :], 16_000, 60)
    assert "first part" in refused.value.hint
