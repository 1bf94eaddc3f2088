"""Files of knowledge into text, and text into passages. Needs neither key nor network."""

from __future__ import annotations

import io

from agentsd.core.chunking import Chunk, chunks
from agentsd.core.errors import ConfigError
from agentsd.supervisor import ENDINGS


def passages(path: str, data: bytes) -> tuple[Chunk, ...]:
    """The passages of a Markdown, text or PDF file. Raises ``ConfigError`` for one that cannot be read."""
    return chunks(text_of(path, data), markdown=path.endswith(".md"))


def text_of(path: str, data: bytes) -> str:
    """The text of a file. Raises ``ConfigError`` where it is neither UTF-8 nor a PDF that can be read."""
    if path.endswith(".pdf"):
        return _pdf(path, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None


def _pdf(path: str, data: bytes) -> str:
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(data))
        return "\n\n".join(page.extract_text() for page in reader.pages)
    except ENDINGS:
        raise
    except BaseException as error:  # a reader of a format so old may raise anything
        hint = "save it anew from the program that made it, or give its text as Markdown"
        raise ConfigError(f"{path} cannot be read as PDF ({type(error).__name__})", hint=hint) from None
