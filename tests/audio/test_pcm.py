"""PCM and WAV headers."""

from __future__ import annotations

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.audio.pcm import BadAudio, SampleJoiner, decode_base64_audio
from agentsd.audio.wav import WavHeader, make_wav, parse_wav_header


@given(st.lists(st.binary(max_size=7), max_size=20))
def test_samples_are_never_cut(chunks: list[bytes]) -> None:
    """Whatever way it is cut, what comes out is even and loses at most a last odd byte."""
    samples = SampleJoiner()
    out = [samples.take(chunk) for chunk in chunks]
    assert all(chunk is None or len(chunk) % 2 == 0 for chunk in out)
    whole = b"".join(chunks)
    assert b"".join(chunk or b"" for chunk in out) == whole[: len(whole) // 2 * 2]


@given(st.integers(8000, 48000), st.binary(max_size=50))
def test_wav_is_what_others_read(rate: int, data: bytes) -> None:
    """The standard library reads our WAV, and we read its."""
    pcm = data[: len(data) // 2 * 2]
    with wave.open(io.BytesIO(make_wav(rate, pcm))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
        assert file.readframes(100) == pcm
    assert parse_wav_header(make_wav(rate, pcm)) == WavHeader(rate, 44)


def test_a_header_with_more_chunks() -> None:
    """LIST and others before the data are passed over; an incomplete header is waited for."""
    plain = make_wav(24000, b"\x01\x02")
    header = plain[:36] + b"LIST\x03\x00\x00\x00abc\x00" + plain[36:]
    assert parse_wav_header(header) == WavHeader(24000, 56)
    assert all(parse_wav_header(header[:size]) is None for size in range(56))


@pytest.mark.parametrize(("offset", "value"), [(0, b"RIFX"), (8, b"AVI "), (22, b"\x02"), (34, b"\x08")])
def test_what_is_not_our_pcm_is_refused(offset: int, value: bytes) -> None:
    """Not RIFF, not WAVE, stereo, 8 bits."""
    data = bytearray(make_wav(16000, b""))
    data[offset : offset + len(value)] = value
    with pytest.raises(BadAudio):
        parse_wav_header(bytes(data))


@pytest.mark.parametrize("text", [7, "a", "====", "a b="])
def test_what_is_not_base64_is_refused(text: object) -> None:
    """Strictly: no rubbish is passed over."""
    with pytest.raises(BadAudio):
        decode_base64_audio(text)
