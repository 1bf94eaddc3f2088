"""Files that a manifest names, its prompt and its sources of knowledge: all in the owner's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from posixpath import normpath

from agentsd.control.validation.text_extraction import Extraction, Known, Refusal, is_costly, recall_passages
from agentsd.core.manifest.agent import Attachment, Attachments
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.tool_lock import LOCK_DEFAULT, make_lock_path
from agentsd.core.names import DEFAULT_OWNER, LOCK_SUFFIX, derive_owner, is_lock_name, strip_overlay
from agentsd.core.sealed import is_sealed_file
from agentsd.core.violations import ATTACHMENT_PENDING, VIOLATIONS_MAX, Pointer, Violation, suggest_word
from agentsd.files.tree import ATTACHMENT_SUFFIXES, TEXT_SUFFIXES, SourceFile, TreeContext, is_attachment_name

PROMPT_POINTER: Pointer = ("system_prompt_file",)

SOURCES_MAX = 1000
"""Sources of one agent."""
_SUGGESTED_MAX = 500
"""Files that a misspelled name is compared with."""


Read = Callable[[str, bytes], Extraction | Known | None]
"""Knowledge of a file: its passages, a mark that they are already stored, or None while unread."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A source that a worker process has to read first, and what is wrong until then."""

    source: SourceFile
    pending: Violation


@dataclass(slots=True)
class Attached:
    """Files that a manifest names, and their violations."""

    found: dict[Pointer, Attachment] = field(default_factory=dict)
    problems: list[Violation] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    passing: bool = False  # a problem is about the machine or the moment, not about a file

    @property
    def attachments(self) -> Attachments:
        """Prompt, sources and locks."""
        sources = tuple(one for pointer, one in self.found.items() if pointer[0] == "rag")
        locks = {one.path: one for pointer, one in self.found.items() if pointer[0] == "tools"}
        return Attachments(self.found.get(PROMPT_POINTER), sources, locks=tuple(locks.values()))


def resolve_attachments(document: Document, beside: TreeContext, read: Read = recall_passages) -> Attached:
    """Return what ``document`` names. ``read``: what is known of a file that it names."""
    into = Attached()
    for pointer, name in islice(_iterate_named(document), SOURCES_MAX + 1):
        file = _find_file(document, pointer, name, beside)
        problem = _check_name(document, pointer, name)
        if problem is None and file is None:
            problem = _report_missing(document, pointer, name, beside)
        if problem:
            into.problems.append(problem)
        elif file:
            _attach_file(document, pointer, file, read, into)
        if len(into.problems) > VIOLATIONS_MAX:
            break
    if "system_prompt_file" in document.value and document.value.get("system_prompt"):
        message = "system_prompt and system_prompt_file exclude each other"
        into.problems.append(
            document.violation(PROMPT_POINTER, "prompt-twice", message, "remove one of them")
        )
    if len((document.value.get("rag") or {}).get("sources", ())) > SOURCES_MAX:
        message, hint = f"more than {SOURCES_MAX:,} sources", "merge some of them"
        into.problems.append(document.violation(("rag", "sources"), "too-many", message, hint))
    return into


def _attach_file(document: Document, pointer: Pointer, file: SourceFile, read: Read, into: Attached) -> None:
    if file.problem:
        problem = file.problem
        message = f"{file.path}: {problem.message}"
        into.problems.append(document.violation(pointer, problem.code, message, problem.hint))
        return
    if is_sealed_file(file.data):
        message = f"{file.path} is encrypted with sops: a model would get the ciphertext"
        hint = "texts are not opened here: put the plain text there, and secrets into the manifest"
        into.problems.append(document.violation(pointer, "attachment-sealed", message, hint))
        return
    if is_lock_name(file.path):
        into.found[pointer] = Attachment(file.path, file.digest, file.data)
        return
    extraction = read(file.path, file.data)
    if isinstance(extraction, Refusal):
        message = f"{file.path} {extraction.why}"
        into.problems.append(document.violation(pointer, "attachment-unreadable", message, extraction.hint))
        into.passing |= not extraction.lasting
        return
    if extraction is None:
        into.unread.append(Unread(file, _pending(document, pointer, file)))
    kept = extraction if isinstance(extraction, tuple) and is_costly(file.path, file.data) else None
    into.found[pointer] = Attachment(file.path, file.digest, file.data, kept)


def _pending(document: Document, pointer: Pointer, file: SourceFile) -> Violation:
    message = f"{file.path} is still being read"
    hint = "the agent is applied as soon as it was read, and serves as it was before until then"
    return document.violation(pointer, ATTACHMENT_PENDING, message, hint)


def _iterate_named(document: Document) -> Iterator[tuple[Pointer, str]]:
    if "system_prompt_file" in document.value:
        yield PROMPT_POINTER, document.value["system_prompt_file"]
    for index, name in enumerate((document.value.get("rag") or {}).get("sources", ())):
        yield ("rag", "sources", index), name
    for index, entry in enumerate(document.value.get("tools") or ()):
        if "mcp" in entry:
            yield ("tools", index, "mcp", "lock"), entry["mcp"].get("lock", LOCK_DEFAULT)


def get_attachment_folder(path: str) -> str:
    """Return the folder that the names in the manifest at ``path`` are relative to, with its ``/``."""
    owner = derive_owner(path)
    return "" if owner == DEFAULT_OWNER and "/" not in strip_overlay(path) else f"{owner}/"


def _get_folder(document: Document, pointer: Pointer) -> str:
    """Return the folder that a name is relative to: a lock's is that of the manifest, which shares it."""
    return (
        make_lock_path(document.path, "") if pointer[0] == "tools" else get_attachment_folder(document.path)
    )


def _find_file(document: Document, pointer: Pointer, name: str, beside: TreeContext) -> SourceFile | None:
    """Return the file called ``name``, or None where it is missing or out of bounds."""
    if name != normpath(name) or name.startswith(("/", "../")) or "\\" in name:
        return None
    folder = _get_folder(document, pointer)
    if not folder and "/" in name and name.partition("/")[0] in beside.owners:
        return None  # the top belongs to "default"; what is in an owner's folder is that owner's
    return beside.files.get(folder + name)


def _check_name(document: Document, pointer: Pointer, name: str) -> Violation | None:
    if pointer[0] == "tools":
        return None if is_lock_name(name) else _report_lock_name(document, pointer)
    suffixes = TEXT_SUFFIXES if pointer == PROMPT_POINTER else ATTACHMENT_SUFFIXES
    if name.endswith(suffixes) and is_attachment_name(name):
        return None
    message = f"a file of this name cannot be {'a prompt' if pointer == PROMPT_POINTER else 'a source'}"
    hint = f"it ends in {', '.join(suffixes)}, and starts with neither '.' nor '_'"
    return document.violation(pointer, "attachment-name", message, hint)


def _report_lock_name(document: Document, pointer: Pointer) -> Violation:
    message, hint = "a file of this name cannot be a lock", f"it starts with '_' and ends in {LOCK_SUFFIX}"
    return document.violation(pointer, "attachment-name", message, hint)


def _report_missing(document: Document, pointer: Pointer, name: str, beside: TreeContext) -> Violation:
    if pointer[0] == "tools":
        message = f"there is no lock {_get_folder(document, pointer)}{name}"
        return document.violation(pointer, "lock-missing", message, "run: agentsd tools lock")
    folder = get_attachment_folder(document.path)
    mine = (path.removeprefix(folder) for path in beside.files if path.startswith(folder))
    known = list(islice(mine, _SUGGESTED_MAX))
    where = f"the owner's folder ({folder or 'the top folder'})"
    hint = suggest_word(name, known) or "a name is relative to the owner's folder, and does not leave it"
    return document.violation(pointer, "attachment-missing", f"there is no such file in {where}", hint)
