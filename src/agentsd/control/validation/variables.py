"""Variables and hand-offs of a manifest: declarations, placeholders in its texts, and who relies on whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from agentsd.core.manifest.agent import Attachment
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.handoff import AgentLinks, HandoffLink
from agentsd.core.manifest.layers import LayeredDocument
from agentsd.core.manifest.variables import Variable, check_values, find_declaration_problems, find_missing
from agentsd.core.names import derive_slug, quote_word
from agentsd.core.sealed import is_sealed
from agentsd.core.text.agent_texts import iter_template_texts
from agentsd.core.text.template import TemplateFault, find_template_faults
from agentsd.core.violations import Violation, format_pointer, suggest_word


def check_variables(document: Document, prompt: Attachment | None) -> Iterator[Violation]:
    """Yield what is wrong with variables, placeholders of plain texts, and hand-offs in themselves.

    ``prompt``: the file of ``system_prompt_file``. The document fits the schema.
    """
    declared = _read_variables(document.value)
    for pointer, problem, hint in find_declaration_problems(declared):
        at = ("variables", *pointer)
        named = format_pointer(at) if all(map(_is_plain, at)) else "variables"
        yield document.violation(at, "variable", f"{named}: {problem}", hint, key=len(at) == 2)
    yield from _check_handoffs(document)
    yield from _check_values_of_checks(document, declared)
    if declared:
        yield from check_placeholders(document, document.value)
        if prompt is not None and prompt.data is not None:
            yield from _check_prompt_file(prompt.path, prompt.data, declared)


def check_placeholders(document: Document, value: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield the faults of the placeholders in the plain texts of ``value``, the document's, opened or not."""
    declared = _read_variables(value)
    if not declared:
        return
    for pointer, text in iter_template_texts(value):
        if is_sealed(text):
            continue  # looked at once it is opened
        for number, fault in enumerate(find_template_faults(text, declared)):
            message, hint = _describe_fault(fault, declared)
            found = document.violation(pointer, "placeholder", f"{format_pointer(pointer)}: {message}", hint)
            plain = value is document.value
            yield _refine_place(found, document, fault, number, declared) if plain else found


def list_links(document: Document) -> AgentLinks:
    """Return what the agent relies on, and what others may rely on."""
    handoffs = []
    for index, one in enumerate(document.value.get("handoff", ())):
        place = document.violation(("handoff", index, "to"), "", "")
        handoffs.append(HandoffLink(one["to"], place.path, place.line, place.column))
    declared = _read_variables(document.value)
    required = sorted(name for name, variable in declared.items() if variable.required)
    return AgentLinks(tuple(handoffs), tuple(sorted(declared)), tuple(required))


def _check_values_of_checks(document: Document, declared: Mapping[str, Variable]) -> Iterator[Violation]:
    """Yield what is wrong with the values that ``checks`` bring, and what they lack."""
    for index, one in enumerate(document.value.get("checks", ())):
        at = ("checks", index, "variables")
        plain = {name: value for name, value in (one.get("variables") or {}).items() if not is_sealed(value)}
        checked = check_values(declared, plain)
        known = {**checked.values, **dict.fromkeys((one.get("variables") or {}).keys() - plain.keys(), "")}
        for problem in (*checked.problems, *find_missing(declared, known)):
            pointer = (*at, problem.name) if problem.name else at
            hint = problem.hint or "correct it, or the declaration"
            yield document.violation(
                pointer, "check-variables", f"{format_pointer(at)}: {problem.message}", hint
            )


def _check_handoffs(document: Document) -> Iterator[Violation]:
    own = (derive_slug(document.path), document.value.get("id"))
    seen: set[str] = set()
    for index, one in enumerate(document.value.get("handoff", ())):
        pointer = ("handoff", index, "to")
        if one["to"] in own:
            message = f"{format_pointer(pointer)}: an agent cannot hand over to itself"
            yield document.violation(pointer, "handoff-self", message, "name another agent, or remove it")
        elif one["to"] in seen:
            message = f"{format_pointer(pointer)}: this agent is named twice"
            yield document.violation(
                pointer, "handoff-twice", message, "join the two: one `when` may name both"
            )
        seen.add(one["to"])
    if (document.value.get("on_error") or {}).get("then") == "handoff" and not seen:
        message = "on_error.then: there is no agent to hand over to"
        hint = "name one under handoff, or choose continue or hang_up"
        yield document.violation(("on_error", "then"), "handoff-none", message, hint)


def _is_plain(part: str | int) -> bool:
    """Return whether a violation may quote a key of the manifest."""
    return isinstance(part, int) or bool(quote_word(part, ""))


def _read_variables(value: Mapping[str, Any]) -> dict[str, Variable]:
    """Return the declarations that fit their schema."""
    found = {}
    for name, declaration in (value.get("variables") or {}).items():
        try:
            found[name] = Variable.model_validate(declaration)
        except ValidationError:  # a sealed description, say: reported by the schema where it is wrong
            continue
    return found


def _check_prompt_file(path: str, data: bytes, declared: Mapping[str, Variable]) -> Iterator[Violation]:
    text = data.decode("utf-8-sig", "replace")
    for fault in find_template_faults(text, declared):
        message, hint = _describe_fault(fault, declared)
        yield Violation(path, "placeholder", message, hint, *_locate_offset(text, fault.offset))


def _describe_fault(fault: TemplateFault, declared: Mapping[str, Variable]) -> tuple[str, str]:
    if fault.name is None:
        return "this {{ does not begin a placeholder such as {{name}}", "for two braces write \\{{"
    hint = suggest_word(fault.name, list(declared)) or f"declared: {', '.join(declared)}"
    return f"there is no variable {fault.name!r}", f"{hint}; for two braces write \\{{{{"


def _refine_place(
    found: Violation, document: Document, fault: TemplateFault, number: int, declared: Mapping[str, Variable]
) -> Violation:
    """Return the violation at the placeholder itself: it stands in the file as in the text.

    ``number``: of the fault among those of its text. Where the file has something else there, as an escape
    may, the beginning of the text is as near as it gets.
    """
    layer = document.layer_of(found.pointer) if isinstance(document, LayeredDocument) else document
    text = layer.data.decode("utf-8", "replace")
    lines = text.split("\n")
    begin = sum(len(line) + 1 for line in lines[: found.line - 1]) + found.column - 1
    same = next(islice(find_template_faults(text[begin:], declared), number, None), None)
    if same is None or same.token != fault.token:
        return found
    line, column = _locate_offset(text, begin + same.offset)
    return replace(found, line=line, column=column)


def _locate_offset(text: str, offset: int) -> tuple[int, int]:
    """Return the 1-based (line, column) of a character."""
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")
