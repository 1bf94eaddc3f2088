"""End-of-turn model: Smart Turn v3 (https://github.com/pipecat-ai/smart-turn), on the CPU.

Its weights are in the wheel of ``pipecat-ai`` (BSD-2-Clause), of which nothing is imported. It hears the
last eight seconds of a turn and returns how probable it is that the caller has finished. One session serves
a whole process, in a thread of its own: about 70 ms of CPU for each pause of a caller.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentsd.audio.log_mel import HOP, RATE, compute_log_mel

PACKAGE = "pipecat-ai"
MODEL = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
INSTALL = "pip install '.[local]' && pip install --no-deps pipecat-ai==1.14.0"
"""Commands that install it, in a clone of agentsd."""

BYTES_PER_SECOND = 2 * RATE
"""Of the sound that the model hears: 16-bit samples at 16 kHz."""

HEARD_SECONDS = 8
"""Sound that the model hears; a shorter one is preceded by silence."""
HEARD_BYTES = HEARD_SECONDS * BYTES_PER_SECOND

WAITING_MAX = 16
"""Questions that wait for the model; a further one is not answered, so that none is answered late."""

_log = logging.getLogger(__name__)


@cache
def find_turn_model() -> Path | None:
    """Return the file of the weights, or None where they, or onnxruntime, are not installed."""
    if find_spec("onnxruntime") is None:
        return None
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(MODEL)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


class TurnModel:
    """Model of one process; it is loaded at its first use. For the event loop only."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turn-model")
        self._session: Any = None
        self._waiting: list[Future[float | None]] = []

    def preload(self) -> None:
        """Begin to load it, so that the first pause does not wait for that."""
        if self._session is None:
            self._thread.submit(self._load)

    def judge(self, pcm: bytes) -> asyncio.Future[float | None] | None:
        """Return the probability, in a while, that the speech ``pcm``, at 16 kHz, is a whole turn.

        None where too many wait for it; its result is None where the model failed.
        """
        self._waiting = [one for one in self._waiting if not one.done()]
        if len(self._waiting) >= WAITING_MAX:
            return None
        waiting = self._thread.submit(self._judge, pcm)
        self._waiting.append(waiting)
        return asyncio.wrap_future(waiting)

    def _judge(self, pcm: bytes) -> float | None:
        try:
            return compute_probability(self._load(), pcm)
        except Exception as error:  # a damaged file, memory: silence decides
            _log.error("the end-of-turn model failed: %s", type(error).__name__)
            return None

    def _load(self) -> Any:
        if self._session is None:
            path = find_turn_model()
            if path is None:
                raise FileNotFoundError(MODEL)
            self._session = open_session(path)
        return self._session


TURN_MODEL = TurnModel()
"""Model of this process."""


def open_session(path: Path) -> Any:
    """Return a session that runs in the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compute_probability(session: Any, pcm: bytes) -> float:
    """Return the probability that the speech ``pcm``, 16-bit at 16 kHz, is a whole turn."""
    (output,) = session.run(None, {"input_features": compute_log_mel(_read_samples(pcm))[None]})
    return float(output.ravel()[0])


def _read_samples(pcm: bytes) -> Any:
    """Return the last eight seconds as float32, silence before them where they are fewer."""
    import numpy as np

    heard = np.frombuffer(pcm[-HEARD_BYTES:], dtype="<i2")
    samples: Any = np.zeros(HEARD_SECONDS * RATE // HOP * HOP, np.float32)
    if len(heard):
        samples[-len(heard) :] = heard / np.float32(32768)
    return samples
