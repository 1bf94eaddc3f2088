"""Write ``features/*.npy`` with Pipecat's front end: ``python -m tests.audio.write_features``.

It needs an environment with ``pipecat-ai`` and its dependencies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.audio.made_sounds import EVERY, SOUNDS

FOLDER = Path(__file__).with_name("features")

if __name__ == "__main__":
    from pipecat.audio.turn.smart_turn._whisper_features import compute_whisper_log_mel_features

    for name, make in SOUNDS.items():
        np.save(FOLDER / f"{name}.npy", compute_whisper_log_mel_features(make())[:, ::EVERY])
