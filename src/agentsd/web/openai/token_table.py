"""Texts of the token arrays that clients send to ``/v1/embeddings`` in place of texts.

The tokens are those of ``cl100k_base``: OpenAI's embedding models have no others, and clients such as
LangChain use them for every model whose name they do not know, so also for an agent. The table is OpenAI's,
of tiktoken (MIT License, Copyright (c) 2022 OpenAI, Shantanu Jain); ``scripts/pack_token_table.py`` packs it.
"""

from __future__ import annotations

import lzma
from array import array
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import accumulate

TABLE_FILE = "cl100k_base.xz"
TOKEN_COUNT = 100_256
"""Tokens of the table. The special ones above have no text."""


class TokenTable:
    """Table of tokens, as one piece of bytes and the offset of each."""

    def __init__(self, packed: bytes) -> None:
        """Read ``packed``: the number of tokens (32 bits, little-endian), their lengths, their bytes."""
        start = 4 + int.from_bytes(packed[:4], "little")
        self._bytes = packed[start:]
        self._offsets = array("I", accumulate(packed[4:start], initial=0))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def get(self, token: int) -> bytes:
        """Return the bytes of a token below ``len``."""
        return self._bytes[self._offsets[token] : self._offsets[token + 1]]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of ``tokens``; a character that is cut in two at an end is replaced."""
        return b"".join(map(self.get, tokens)).decode("utf-8", "replace")


@cache
def load_token_table() -> TokenTable:
    """Return the table; the first call reads it."""
    return TokenTable(lzma.decompress(files(__package__).joinpath(TABLE_FILE).read_bytes()))
