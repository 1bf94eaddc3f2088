"""all-MiniLM-L6-v2, by onnxruntime: WordPiece tokens, mean over them, length 1."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall

TOKENS_MAX = 256
"""Tokens of a text that are used, as in the model's training; the rest is cut off."""
BASE_BYTES = 192 << 20


def need(settings: Mapping[str, Any]) -> int:
    """Return the bytes that the model is estimated to take."""
    return Path(settings["path"]).stat().st_size * 2 + BASE_BYTES


class MiniLmEngine:
    """Loaded model."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(settings["tokenizer"])
        self._tokenizer.enable_truncation(max_length=TOKENS_MAX)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1  # a text is too short to split
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave idle cores to others
        self._session: Any = onnxruntime.InferenceSession(
            settings["path"], options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}
        self.operations = {"embed": self._embed}

    def _embed(self, call: EngineCall) -> None:
        """Send the vectors of the body's texts, as 64-bit numbers one after the other.

        Texts are embedded one by one, so that a text's vector does not depend on the other texts.
        """
        vectors = array("d")
        for text in json.loads(call.body):
            if call.stopped:
                return
            vectors.extend(self._vector(text))
        call.emit({}, vectors.tobytes())

    def _vector(self, text: str) -> list[float]:
        import numpy

        ids = numpy.array([self._tokenizer.encode(text).ids], dtype=numpy.int64)
        feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = numpy.zeros_like(ids)
        mean = self._session.run(None, feeds)[0][0].mean(axis=0)
        vector: list[float] = (mean / max(float(numpy.linalg.norm(mean)), 1e-12)).tolist()
        return vector


load = MiniLmEngine
