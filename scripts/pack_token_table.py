#!/usr/bin/env python3
"""Pack the table of the tokens of ``cl100k_base``, with which ``/v1/embeddings`` reads token arrays.

Usage: scripts/pack_token_table.py CL100K_BASE.TIKTOKEN

The file is OpenAI's (MIT License), as tiktoken downloads it; its digest is checked. The result is
``src/agentsd/web/openai/cl100k_base.xz``: the number of tokens (4 bytes, little-endian), the
length of each, and the bytes of all, in order.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
import sys
from pathlib import Path

SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
TARGET = Path(__file__).resolve().parents[1] / "src/agentsd/web/openai/cl100k_base.xz"


def main(source: str) -> None:
    """Check ``source`` and write the table."""
    data = Path(source).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{source} is not cl100k_base.tiktoken")
    rows = [line.split() for line in data.splitlines()]
    if [int(rank) for _, rank in rows] != list(range(len(rows))):
        sys.exit("the tokens are not in order")
    tokens = [base64.b64decode(text) for text, _ in rows]
    packed = len(tokens).to_bytes(4, "little") + bytes(map(len, tokens)) + b"".join(tokens)
    TARGET.write_bytes(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(sys.argv[1])
