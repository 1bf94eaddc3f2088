"""The files that a manifest names, its prompt and its sources of knowledge: all in the owner's folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from posixpath import normpath

from agentsd.control.extraction import passages
from agentsd.core.agent import Attachment, Attachments
from agentsd.core.document import Document
from agentsd.core.errors import ConfigError
from agentsd.core.names import DEFAULT_OWNER, inner, owner_of
from agentsd.core.violations import MOST, Pointer, Violation, did_you_mean
from agentsd.files.tree import ATTACHMENT_SUFFIXES, Beside, SourceFile, is_attachment_name

PROMPT: Pointer = ("system_prompt_file",)

SOURCES_MAX = 1000
"""Sources of one agent."""
_KNOWN_MAX = 500
"""Files among which a misspelled one is looked for."""


def attach(document: Document, beside: Beside) -> tuple[Attachments, list[Violation]]:
    """What ``document`` names, and what is wrong with it."""
    found: dict[Pointer, Attachment] = {}
    problems: list[Violation] = []
    for pointer, name in islice(_named(document), SOURCES_MAX + 1):
        file = _find(document, name, beside)
        problem = _misnamed(document, pointer, name)
        if problem is None:
            problem = _faulty(document, pointer, file) if file else _missing(document, pointer, name, beside)
        if problem:
            problems.append(problem)
            if len(problems) > MOST:
                break
        elif file:
            found[pointer] = Attachment(file.path, file.digest, file.data)
    if "system_prompt_file" in document.value and document.value.get("system_prompt"):
        message = "system_prompt and system_prompt_file: one of the two"
        problems.append(document.violation(PROMPT, "prompt-twice", message, "remove one of them"))
    if len((document.value.get("rag") or {}).get("sources", ())) > SOURCES_MAX:
        message, hint = f"more than {SOURCES_MAX:,} sources", "join some of them"
        problems.append(document.violation(("rag", "sources"), "too-many", message, hint))
    sources = tuple(attachment for pointer, attachment in found.items() if pointer != PROMPT)
    return Attachments(found.get(PROMPT), sources), problems


def _named(document: Document) -> Iterator[tuple[Pointer, str]]:
    if "system_prompt_file" in document.value:
        yield PROMPT, document.value["system_prompt_file"]
    for index, name in enumerate((document.value.get("rag") or {}).get("sources", ())):
        yield ("rag", "sources", index), name


def _folder(document: Document) -> str:
    owner = owner_of(document.path)
    return "" if owner == DEFAULT_OWNER and "/" not in inner(document.path) else f"{owner}/"


def _find(document: Document, name: str, beside: Beside) -> SourceFile | None:
    """The file called ``name``, or None where it is missing or out of bounds."""
    if name != normpath(name) or name.startswith(("/", "../")) or "\\" in name:
        return None
    folder = _folder(document)
    if not folder and "/" in name and name.partition("/")[0] in beside.owners:
        return None  # the top belongs to "default"; what is in an owner's folder is that owner's
    return beside.files.get(folder + name)


def _misnamed(document: Document, pointer: Pointer, name: str) -> Violation | None:
    suffixes = ATTACHMENT_SUFFIXES[:2] if pointer == PROMPT else ATTACHMENT_SUFFIXES
    if name.endswith(suffixes) and is_attachment_name(name):
        return None
    message = f"a file of this name cannot be {'a prompt' if pointer == PROMPT else 'a source'}"
    hint = f"it ends in {', '.join(suffixes)}, and starts with neither '.' nor '_'"
    return document.violation(pointer, "attachment-name", message, hint)


def _faulty(document: Document, pointer: Pointer, file: SourceFile) -> Violation | None:
    if file.problem:
        problem = file.problem
        return document.violation(pointer, problem.code, f"{file.path}: {problem.message}", problem.hint)
    try:
        passages(file.path, file.data)
    except ConfigError as error:
        return document.violation(pointer, "attachment-unreadable", error.message, error.hint)
    return None


def _missing(document: Document, pointer: Pointer, name: str, beside: Beside) -> Violation:
    folder = _folder(document)
    mine = (path.removeprefix(folder) for path in beside.files if path.startswith(folder))
    known = list(islice(mine, _KNOWN_MAX))
    where = f"the owner's folder ({folder or 'the top folder'})"
    hint = did_you_mean(name, known) or "a name is relative to the owner's folder, and does not leave it"
    return document.violation(pointer, "attachment-missing", f"there is no such file in {where}", hint)
