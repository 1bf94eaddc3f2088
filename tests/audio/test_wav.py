"""WAV in any form becomes 16-bit mono; the standard library's own reader and writer are the measure."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.audio.wav import BadWav, make_stream_header, mix_to_mono, read_wav

SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=50)


def written(frames: bytes, *, rate: int, channels: int, width: int) -> bytes:
    """A WAV file of the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(frames)
    return file.getvalue()


def wide(sample: int, width: int) -> bytes:
    """A 16-bit sample in ``width`` bytes."""
    if width == 1:
        return bytes([(sample >> 8) + 128])
    return bytes(width - 2) + sample.to_bytes(2, "little", signed=True)


@given(SAMPLES, st.sampled_from([8_000, 22_050, 44_100, 48_000]), st.integers(1, 4), st.integers(1, 6))
def test_any_width_and_channels_become_sixteen_bit_mono(
    samples: list[int], rate: int, width: int, channels: int
) -> None:
    """The same sample on every channel comes out as it went in (8 bits keep the upper byte)."""
    frames = b"".join(wide(sample, width) * channels for sample in samples)
    sound = read_wav(written(frames, rate=rate, channels=channels, width=width))
    kept = [sample & ~0xFF if width == 1 else sample for sample in samples]
    assert sound.rate == rate
    assert sound.pcm == struct.pack(f"<{len(kept)}h", *kept)


@given(st.lists(st.floats(width=32, allow_nan=True), max_size=30))
def test_floats_are_clipped(numbers: list[float]) -> None:
    """32-bit floats beyond -1 to 1, infinite ones and NaN do no harm."""
    fmt = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    sound = read_wav(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert len(sound.pcm) == 2 * len(numbers)


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 2_000_000_000, 0xFFFF_FFFF])
def test_a_length_that_was_not_known_ends_with_the_file(size: int) -> None:
    """As recorders and servers write it that stream: 0, or as much as fits."""
    head = make_stream_header(16_000)[:-4] + size.to_bytes(4, "little")
    assert read_wav(head + b"\1\0" * 99).pcm == b"\1\0" * 99
    assert read_wav(head).pcm == b""


@given(SAMPLES)
def test_a_streams_header_is_read_by_the_standard_library(samples: list[int]) -> None:
    """A length that nobody knew ends with the file, there and here."""
    pcm = struct.pack(f"<{len(samples)}h", *samples)
    data = make_stream_header(24_000) + pcm
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.readframes(len(data))) == (24_000, pcm)
    assert read_wav(data).pcm == pcm


@given(st.binary(max_size=120), st.booleans())
def test_nonsense_is_refused_or_read_but_never_breaks(data: bytes, headed: bool) -> None:
    """Only ``BadWav`` comes out."""
    head = make_stream_header(8_000)[:36] if headed else b""
    try:
        assert len(read_wav(head + data).pcm) % 2 == 0
    except BadWav:
        return


def test_channels_are_averaged_and_half_a_frame_is_dropped() -> None:
    """1 and 3 make 2; loud channels do not overflow."""
    assert mix_to_mono(struct.pack("<5h", 1, 3, 32_767, 32_767, 9), 2) == struct.pack("<2h", 2, 32_767)


def test_compressed_sound_is_refused() -> None:
    """With what to send instead."""
    data = bytearray(make_stream_header(8_000))
    data[20] = 7  # mu-law
    with pytest.raises(BadWav, match="16-bit PCM"):
        read_wav(bytes(data))
