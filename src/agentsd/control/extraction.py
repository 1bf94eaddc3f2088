"""Files of knowledge into text, and text into passages. Needs neither key nor network.

A PDF, or a text that takes long to cut, is read by a worker process with limits. What came of it is kept
for a while, refusals included: the same file is asked for by a check and by the apply that follows.
"""

from __future__ import annotations

import io
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from threading import Lock

from agentsd.core.chunking import Chunk, chunks
from agentsd.core.errors import AgentsdError, ConfigError, FunctionFailed, LimitExceeded
from agentsd.core.names import owner_of
from agentsd.sandbox.limits import Limits
from agentsd.sandbox.shared import shared_sandbox

INLINE_BYTES = 32 << 10
"""Of a text that is cut at once: that takes a few milliseconds."""
PASSAGES_MAX = 20_000
"""Passages of one file: what 16 MiB of running text makes, with room to spare."""
LIMITS = Limits(memory=1 << 30, cpu_seconds=15.0, wall_seconds=60.0)
"""For one file. A book of a thousand pages takes about ten seconds; whoever syncs waits for it, once."""
STRIKES_MAX = 3
"""Files of one owner that may take all that ``LIMITS`` allow; then no other one is read for a while."""
STRIKE_SECONDS = 600.0

_KEPT_BYTES = 32 << 20
_PDF_HINT = "save it anew from the program that made it, or give its text as Markdown"
_LONG_HINT = "split it, or give its text as Markdown"

_Pieces = list[list[str]]
"""Heading and text of each passage."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a file has no passages."""

    why: str
    hint: str
    lasting: bool = True  # False: it may be different once the machine is less busy
    costly: bool = False  # it took all that one file may


_Outcome = tuple[Chunk, ...] | _Refusal


def passages(path: str, data: bytes) -> tuple[Chunk, ...]:
    """The passages of a Markdown, text or PDF file. Raises ``ConfigError`` for one that cannot be read.

    Blocks for as long as ``LIMITS`` allow where ``is_costly``: on an event loop, call it in a thread.
    """
    if is_costly(path, data):
        outcome = _recalled(path, data)
    else:
        outcome = _outcome_of(lambda: _pieces(_kind(path), data))
    if isinstance(outcome, _Refusal):
        raise ConfigError(f"{path} {outcome.why}", hint=outcome.hint)
    return outcome


def is_costly(path: str, data: bytes) -> bool:
    """Whether reading this file takes long enough to freeze an event loop."""
    return path.endswith(".pdf") or len(data) > INLINE_BYTES


def _kind(path: str) -> str:
    return path.rpartition(".")[2]


def _recalled(path: str, data: bytes) -> _Outcome:
    """What became of these bytes before; else a worker reads them."""
    kind, owner = _kind(path), owner_of(path)
    digest = sha256(f"{kind}:".encode() + data).digest()
    kept = _kept()
    outcome = kept.get(digest)
    if outcome is not None:
        return outcome
    if kept.strikes(owner) >= STRIKES_MAX:
        why = f"is not read: {STRIKES_MAX} other files of {owner} took too long in the last minutes"
        return _Refusal(why, "mend or remove those", lasting=False)
    outcome = _outcome_of(lambda: shared_sandbox().call(_pieces, kind, data, limits=LIMITS, key=owner))
    if not isinstance(outcome, _Refusal) or outcome.lasting:
        kept.put(digest, outcome)
    if isinstance(outcome, _Refusal) and outcome.costly:
        kept.strike(owner)
    return outcome


def _outcome_of(work: Callable[[], _Pieces]) -> _Outcome:
    """One border: whatever a hostile file brings about is a refusal of that file."""
    try:
        return _chunks(work())
    except ConfigError as error:
        return _Refusal(error.message, error.hint)
    except LimitExceeded as error:
        lasting, costly = error.limit != "queue", error.limit in ("cpu", "time")
        return _Refusal(f"cannot be read: {error.message}", _LONG_HINT, lasting, costly)
    except FunctionFailed as error:
        return _Refusal(f"cannot be read ({error.kind})", _PDF_HINT)
    except AgentsdError as error:
        return _Refusal(f"cannot be read ({type(error).__name__})", _PDF_HINT)
    except OSError:  # no process can be started
        return _Refusal("cannot be read just now: no worker process starts", "try again", lasting=False)


def _chunks(pieces: _Pieces) -> tuple[Chunk, ...]:
    """Passages of what a worker answered, which is not believed to be what was asked for."""
    garbage = ConfigError("cannot be read: a worker process answered garbage", hint=_PDF_HINT)
    try:
        found = tuple(Chunk(ordinal, heading, text) for ordinal, (heading, text) in enumerate(pieces))
    except (TypeError, ValueError):
        raise garbage from None
    if len(found) > PASSAGES_MAX:
        raise garbage
    if not all(isinstance(one.heading, str) and isinstance(one.text, str) for one in found):
        raise garbage
    return found


def _pieces(kind: str, data: bytes) -> _Pieces:
    """Heading and text of each passage: the work itself, wherever it is done."""
    found = chunks(_text_of(kind, data), markdown=kind == "md")
    if len(found) > PASSAGES_MAX:
        message = f"makes {len(found):,} passages; a file may make {PASSAGES_MAX:,}"
        raise ConfigError(message, hint="split it, or give it fewer headings")
    return [[one.heading, one.text] for one in found]


def _text_of(kind: str, data: bytes) -> str:
    if kind == "pdf":
        return _text_of_pdf(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None


def _text_of_pdf(data: bytes) -> str:
    """The text of all pages. Raises what pypdf does, so it runs in a worker only."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    text = "\n\n".join(page.extract_text() for page in reader.pages)
    return text.encode("utf-8", "replace").decode()  # broken fonts make halves of surrogate pairs


class _Kept:
    """The outcomes of the files that were read last, as many as fit, and who had costly ones. Thread-safe."""

    def __init__(self) -> None:
        self._strikes: dict[str, list[float]] = {}  # owner → when (monotonic)
        self._outcomes: OrderedDict[bytes, _Outcome] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, digest: bytes) -> _Outcome | None:
        with self._lock:
            if digest in self._outcomes:
                self._outcomes.move_to_end(digest)
            return self._outcomes.get(digest)

    def put(self, digest: bytes, outcome: _Outcome) -> None:
        with self._lock:
            if digest in self._outcomes:
                return
            self._outcomes[digest] = outcome
            self._size += _size(outcome)
            while self._size > _KEPT_BYTES:
                self._size -= _size(self._outcomes.popitem(last=False)[1])

    def strike(self, owner: str) -> None:
        """Note that a file of ``owner`` took all that it may."""
        with self._lock:
            self._strikes.setdefault(owner, []).append(time.monotonic())

    def strikes(self, owner: str) -> int:
        """How often that was, lately."""
        since = time.monotonic() - STRIKE_SECONDS
        with self._lock:
            lately = [one for one in self._strikes.pop(owner, ()) if one > since]
            if lately:
                self._strikes[owner] = lately
            return len(lately)


@cache
def _kept() -> _Kept:
    return _Kept()


def _size(outcome: _Outcome) -> int:
    """About what it takes in memory."""
    if isinstance(outcome, _Refusal):
        return 500
    return sum(200 + len(one.heading) + len(one.text) for one in outcome)
