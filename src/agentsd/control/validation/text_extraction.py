"""Extraction of text from files of knowledge, and its splitting into passages. No key, no network.

A PDF, or a text that takes long to split, is read by a worker process with limits. The outcome is
kept for a while, refusals included: a check and the apply that follows ask for the same file.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from threading import Lock

from agentsd.core.errors import ConfigError, FunctionFailed, LimitExceeded
from agentsd.core.manifest.chunks import Chunk, split_chunks
from agentsd.core.names import derive_owner
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.shared import extraction_sandbox

INLINE_BYTES = 32 << 10
"""Bytes of a text that is split inline: that takes a few milliseconds."""
PASSAGES_MAX = 20_000
"""Passages of one file: what 16 MiB of running text makes, with room to spare."""
WORKER_LIMITS = CallLimits(memory=1 << 30, cpu_seconds=15.0, wall_seconds=60.0)
"""For one file. A book of a thousand pages takes about ten seconds."""
STRIKES_MAX = 3
"""Files of one owner that may take all that ``WORKER_LIMITS`` allow; then no other is read for a while."""
STRIKE_SECONDS = 600.0

_KEPT_BYTES = 32 << 20
_PDF_HINT = "export it again from the program that made it, or give its text as Markdown"
_LONG_HINT = "split it, or give its text as Markdown"

_PassagePieces = list[list[str]]
"""Heading and text of each passage."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file has no passages."""

    why: str
    hint: str
    lasting: bool = True  # False: it may be different once the machine is less busy
    costly: bool = False  # it reached the limits of one file


Extraction = tuple[Chunk, ...] | Refusal
"""Passages of a file, or why it has none."""


class Known(Enum):
    """A file that need not be read."""

    STORED = "stored"  # its passages are in the store


def extract_passages(path: str, data: bytes) -> tuple[Chunk, ...]:
    """Return the passages of a Markdown, text or PDF file. Raises ``ConfigError`` where it cannot be read.

    Blocks for as long as ``WORKER_LIMITS`` allow where ``is_costly``: on an event loop, await
    ``extract_in_worker``.
    """
    extraction = extract_blocking(path, data)
    if isinstance(extraction, Refusal):
        raise ConfigError(f"{path} {extraction.why}", hint=extraction.hint)
    return extraction


def is_costly(path: str, data: bytes) -> bool:
    """Return whether reading this file takes long enough to freeze an event loop."""
    return path.endswith(".pdf") or len(data) > INLINE_BYTES


def recall_passages(path: str, data: bytes) -> Extraction | None:
    """Return what can be had at once; None: the file has to be read by a worker process."""
    if is_costly(path, data):
        return _get_outcome_cache().get(_digest(path, data))
    try:
        return _make_chunks(_split_pieces(kind_of(path), data))
    except Exception as error:
        return _refusal(error)


def extract_blocking(path: str, data: bytes) -> Extraction:
    """Return what comes of a file, and wait for a worker process where one has to read it."""
    known = _at_once(path, data)
    if known is not None:
        return known
    try:
        call = extraction_sandbox().call
        found = _make_chunks(
            call(_split_pieces, kind_of(path), data, limits=WORKER_LIMITS, key=derive_owner(path))
        )
    except Exception as error:
        return _kept_refusal(path, data, _refusal(error))
    return _kept_passages(path, data, found)


async def extract_in_worker(path: str, data: bytes) -> Extraction:
    """Do what ``extract_blocking`` does beside the event loop. Cancelling it frees the worker process."""
    known = await asyncio.to_thread(_at_once, path, data)
    if known is not None:
        return known
    try:
        run = extraction_sandbox().run
        pieces = await run(_split_pieces, kind_of(path), data, limits=WORKER_LIMITS, key=derive_owner(path))
        found = await asyncio.to_thread(_make_chunks, pieces)
    except Exception as error:
        return _kept_refusal(path, data, _refusal(error))
    return await asyncio.to_thread(_kept_passages, path, data, found)


def kind_of(path: str) -> str:
    """Return how a file is read: the same bytes are something else as text than as PDF."""
    return path.rpartition(".")[2]


def _digest(path: str, data: bytes) -> bytes:
    return sha256(f"{kind_of(path)}:".encode() + data).digest()


def _at_once(path: str, data: bytes) -> Extraction | None:
    known = recall_passages(path, data)
    return _suspension(path) if known is None else known


def _suspension(path: str) -> Refusal | None:
    """Return why no file of this owner is read just now."""
    owner = derive_owner(path)
    if _get_outcome_cache().strikes(owner) < STRIKES_MAX:
        return None
    why = f"is not read: {STRIKES_MAX} other files of {owner} took too long in the last minutes"
    return Refusal(why, "fix or remove those", lasting=False)


def _kept_passages(path: str, data: bytes, found: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    _get_outcome_cache().put(_digest(path, data), found)
    return found


def _kept_refusal(path: str, data: bytes, refusal: Refusal) -> Refusal:
    if refusal.lasting:
        _get_outcome_cache().put(_digest(path, data), refusal)
    if refusal.costly:
        _get_outcome_cache().strike(derive_owner(path))
    return refusal


def _refusal(error: Exception) -> Refusal:
    """Translate an error at one border: whatever a hostile file brings about is a refusal of that file."""
    match error:
        case ConfigError():
            return Refusal(error.message, error.hint)
        case LimitExceeded():
            lasting, costly = error.limit != "queue", error.limit in ("cpu", "time")
            return Refusal(f"cannot be read: {error.message}", _LONG_HINT, lasting, costly)
        case FunctionFailed():
            return Refusal(f"cannot be read ({error.kind})", _PDF_HINT)
        case OSError():  # no process can be started
            return Refusal("cannot be read just now: no worker process starts", "try again", lasting=False)
        case _:
            return Refusal(f"cannot be read ({type(error).__name__})", _PDF_HINT)


def _make_chunks(pieces: _PassagePieces) -> tuple[Chunk, ...]:
    """Make passages of a worker's answer, which is not trusted to have the requested form."""
    garbage = ConfigError("cannot be read: a worker process sent an invalid reply", hint=_PDF_HINT)
    try:
        found = tuple(Chunk(ordinal, heading, text) for ordinal, (heading, text) in enumerate(pieces))
    except (TypeError, ValueError):
        raise garbage from None
    if len(found) > PASSAGES_MAX:
        raise garbage
    if not all(isinstance(one.heading, str) and isinstance(one.text, str) for one in found):
        raise garbage
    return found


def _split_pieces(kind: str, data: bytes) -> _PassagePieces:
    """Return heading and text of each passage: the work itself, wherever it is done."""
    found = split_chunks(_extract_text(kind, data), markdown=kind == "md")
    if len(found) > PASSAGES_MAX:
        message = f"makes {len(found):,} passages; a file may make {PASSAGES_MAX:,}"
        raise ConfigError(message, hint="split it, or give it fewer headings")
    return [[one.heading, one.text] for one in found]


def _extract_text(kind: str, data: bytes) -> str:
    if kind == "pdf":
        return _extract_pdf_text(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None


def _extract_pdf_text(data: bytes) -> str:
    """Return the text of all pages. Raises what pypdf does, so it runs in a worker only."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    text = "\n\n".join(page.extract_text() for page in reader.pages)
    return text.encode("utf-8", "replace").decode()  # broken fonts make halves of surrogate pairs


class _OutcomeCache:
    """Outcomes of the files that were read last, as many as fit, and owners of costly ones. Thread-safe."""

    def __init__(self) -> None:
        self._strikes: dict[str, list[float]] = {}  # owner → when (monotonic)
        self._outcomes: OrderedDict[bytes, Extraction] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, digest: bytes) -> Extraction | None:
        with self._lock:
            if digest in self._outcomes:
                self._outcomes.move_to_end(digest)
            return self._outcomes.get(digest)

    def put(self, digest: bytes, outcome: Extraction) -> None:
        with self._lock:
            if digest in self._outcomes:
                return
            self._outcomes[digest] = outcome
            self._size += _estimate_size(outcome)
            while self._size > _KEPT_BYTES:
                self._size -= _estimate_size(self._outcomes.popitem(last=False)[1])

    def strike(self, owner: str) -> None:
        """Record that a file of ``owner`` took all that it may."""
        with self._lock:
            self._strikes.setdefault(owner, []).append(time.monotonic())

    def strikes(self, owner: str) -> int:
        """Return how often that happened, lately."""
        since = time.monotonic() - STRIKE_SECONDS
        with self._lock:
            lately = [one for one in self._strikes.pop(owner, ()) if one > since]
            if lately:
                self._strikes[owner] = lately
            return len(lately)


@cache
def _get_outcome_cache() -> _OutcomeCache:
    return _OutcomeCache()


def _estimate_size(outcome: Extraction) -> int:
    """Estimate the memory that it takes."""
    if isinstance(outcome, Refusal):
        return 500
    return sum(200 + len(one.heading) + len(one.text) for one in outcome)
