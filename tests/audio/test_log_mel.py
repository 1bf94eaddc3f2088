"""Features of speech, beside Pipecat's own of the same made sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentsd.audio.log_mel import compute_log_mel
from tests.audio.made_sounds import EVERY, SOUNDS

FEATURES = Path(__file__).with_name("features")


@pytest.mark.parametrize("name", SOUNDS)
def test_features_are_those_of_pipecat(name: str) -> None:
    """Every 20th frame of eight seconds was stored."""
    made = compute_log_mel(SOUNDS[name]())
    assert (made.shape, made.dtype) == ((80, 800), np.float32)
    np.testing.assert_allclose(made[:, ::EVERY], np.load(FEATURES / f"{name}.npy"), atol=1e-4)


def test_loudness_does_not_matter() -> None:
    """A quiet caller is heard as a loud one."""
    loud = SOUNDS["voice"]()
    np.testing.assert_allclose(compute_log_mel(loud), compute_log_mel(loud * 0.25), atol=1e-2)
