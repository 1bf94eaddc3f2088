"""Validation of a document against its JSON Schema: every error, with line, column and hint.

``jsonschema-rs`` accepts or rejects in about a microsecond; ``jsonschema`` explains a rejection.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from itertools import islice
from typing import Any

from agentsd.core.manifest.document import Document
from agentsd.core.violations import VIOLATIONS_MAX, Pointer, Violation, format_pointer, suggest_word

Schema = dict[str, Any]

_SEAL = re.compile(r"ENC\[AES256_GCM,data:[^,]+,iv:[^,]+,tag:[^,]+,type:([a-z]+)\]")
_QUOTE_IT = "put the value in quotes, then seal it: agentsd edit FILE"
_QUOTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,39}")


class Validator:
    """Compiled schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    @cached_property
    def _quick(self) -> Any:
        import jsonschema_rs

        return jsonschema_rs.validator_for(self._schema)

    @cached_property
    def _thorough(self) -> Any:
        from jsonschema import Draft202012Validator, validators

        checker = Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number)
        return validators.extend(Draft202012Validator, type_checker=checker)(self._schema)  # type: ignore[no-untyped-call]

    def check(self, document: Document) -> list[Violation]:
        """Return the schema violations, at most ``VIOLATIONS_MAX`` and one; empty if valid."""
        if self._accepts(document.value):
            return []
        errors = self._thorough.iter_errors(document.value)
        found = (violation for error in errors for violation in _convert_error(document, error))
        return list(dict.fromkeys(islice(found, VIOLATIONS_MAX + 1)))

    def _accepts(self, value: Mapping[str, Any]) -> bool:
        try:
            return bool(self._quick.is_valid(value))
        except ValueError:  # a value that JSON does not have, such as a timestamp
            return False


def _is_finite_number(_: Any, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _convert_error(document: Document, error: Any) -> Iterator[Violation]:
    """Yield the violations that one ``jsonschema`` error represents."""
    pointer: Pointer = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from _report_unknown_keys(document, error, pointer)
        return
    if error.validator == "anyOf":
        yield from _report_sealable(document, error, pointer)
        return
    code, message, hint = _explain_error(error)
    key = error.validator in ("required", "not") and bool(pointer) and isinstance(pointer[-1], str)
    yield document.violation(pointer, code, f"{_name_subject(pointer)}{message}", hint, key=key)


def _name_subject(pointer: Pointer) -> str:
    return f"{format_pointer(pointer)}: " if pointer else ""


def _report_unknown_keys(document: Document, error: Any, pointer: Pointer) -> Iterator[Violation]:
    known = [name for name in error.schema.get("properties", {}) if name != "sops"]
    for name in error.instance:
        if name in known or name == "sops":
            continue
        shown = f" {name!r}" if _QUOTABLE.fullmatch(str(name)) else ""
        hint = suggest_word(str(name), known) or f"known keys: {', '.join(known)}"
        where = f"{format_pointer(pointer)} has an" if pointer else "there is an"
        yield document.violation(
            (*pointer, name), "unknown-key", f"{where} unknown key{shown}", hint, key=True
        )


def _report_sealable(document: Document, error: Any, pointer: Pointer) -> Iterator[Violation]:
    """Yield violations of a field that may be sealed: a seal of another type, or a bad plain value."""
    if isinstance(error.instance, str) and error.instance.startswith("ENC["):
        yield _make_seal_violation(document, error.instance, pointer, error.schema["anyOf"][0].get("type"))
        return
    for inner in _find_fitting_branch(error):
        if inner.absolute_path != error.absolute_path or inner.validator in _NESTED:
            yield from _convert_error(document, inner)
            continue
        code, message, hint = _explain_error(inner)
        hint = hint or _make_example(error.schema)
        yield document.violation(pointer, code, f"{_name_subject(pointer)}{message}", hint)


_NESTED = frozenset({"additionalProperties", "anyOf", "required"})
"""Rules whose errors are about something within the value."""


def _find_fitting_branch(error: Any) -> list[Any]:
    """Return the errors of the first alternative whose type the value has; else those of the first."""
    branches: dict[object, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    for errors in branches.values():
        if not any(inner.validator == "type" and not inner.path for inner in errors):
            is_seal = any(inner.validator == "pattern" and _is_seal_schema(inner.schema) for inner in errors)
            if not is_seal:
                return errors
    return branches.get(0, [])


def _make_seal_violation(document: Document, value: str, pointer: Pointer, wanted: object) -> Violation:
    match = _SEAL.fullmatch(value)
    if match is None:
        return document.violation(
            pointer,
            "seal-malformed",
            f"{_name_subject(pointer)}this is not a whole sealed value",
            "restore it from git, or seal it again: agentsd edit FILE",
        )
    message = f"{_name_subject(pointer)}found a sealed {match[1]}, expected a {wanted or 'str'}"
    hint = _QUOTE_IT if wanted in (None, "string") else "seal a value of the right type: agentsd edit FILE"
    return document.violation(pointer, "seal-type", message, hint)


def _explain_error(error: Any) -> tuple[str, str, str]:
    """Return (code, message, hint) of one error; values are quoted only if they cannot be secrets."""
    if _is_seal_schema(error.schema):
        return _explain_seal(error)
    explain = _EXPLANATIONS.get(str(error.validator))
    if explain is None:
        return "invalid-value", "this value is not allowed", _make_example(error.schema)
    return explain(error)


def _is_seal_schema(schema: Any) -> bool:
    return isinstance(schema, Mapping) and str(schema.get("pattern", "")).startswith(r"^ENC\[")


def _explain_seal(error: Any) -> tuple[str, str, str]:
    value = error.instance
    if value is None:
        return _explain_null()
    if isinstance(value, str) and value.startswith("ENC["):
        match = _SEAL.fullmatch(value)
        if match:
            return "seal-type", f"found a sealed {match[1]}, expected a str", _QUOTE_IT
        hint = "restore it from git, or seal it again: agentsd edit FILE"
        return "seal-malformed", "this is not a whole sealed value", hint
    return (
        "plaintext-secret",
        "a secret in plain text",
        "seal the file: agentsd seal FILE. If it was ever committed or shared, replace the secret itself",
    )


def _explain_null() -> tuple[str, str, str]:
    return "null-value", "null is not allowed here", "remove the key, or set a value"


def _explain_type(error: Any) -> tuple[str, str, str]:
    if error.instance is None:
        return _explain_null()
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    found = _type_name(error.instance)
    hint = (
        "quote it"
        if names == ["string"] and found not in ("a list", "a mapping")
        else _make_example(error.schema)
    )
    return "wrong-type", f"expected {' or '.join(_TYPES.get(n, n) for n in names)}, found {found}", hint


def _explain_choice(error: Any) -> tuple[str, str, str]:
    allowed = [str(value) for value in error.validator_value]
    provider = bool(error.absolute_path) and error.absolute_path[-1] == "provider"
    code = "unknown-provider" if provider else "unknown-value"
    if error.instance is None:
        return _explain_null()
    text = str(error.instance)
    shown = f" {text!r}" if _QUOTABLE.fullmatch(text) else ""
    near = suggest_word(text, allowed)
    listed = f"allowed: {', '.join(allowed)}"
    return (
        code,
        f"unknown {'provider' if provider else 'value'}{shown}",
        f"{near} ({listed})" if near else listed,
    )


def _explain_required(error: Any) -> tuple[str, str, str]:
    missing = [name for name in error.validator_value if name not in error.instance]
    names = ", ".join(repr(name) for name in missing)
    properties = error.schema.get("properties", {})
    return (
        "missing-key",
        f"{names} is missing",
        _make_example(properties.get(missing[0], {}) if missing else {}),
    )


def _explain_not(error: Any) -> tuple[str, str, str]:
    if error.validator_value == {}:
        return "invalid-value", "this key is not allowed here", _make_example(error.schema) or "remove it"
    return (
        "sealed-structural",
        "this field must not be sealed: a sync has to read it without a key",
        "write it in plain text, and exclude it from the encrypted fields of .sops.yaml",
    )


def _explain_length(error: Any) -> tuple[str, str, str]:
    bound = error.validator_value
    if error.validator.startswith("max"):
        return "too-long", f"longer than {bound} {_get_unit(error)}", "shorten it"
    return "too-short", f"shorter than {bound} {_get_unit(error)}", _make_example(error.schema)


def _explain_bound(error: Any) -> tuple[str, str, str]:
    word = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}.get(
        error.validator, "less than"
    )
    return "out-of-range", f"must be {word} {error.validator_value}", _make_example(error.schema)


def _explain_pattern(error: Any) -> tuple[str, str, str]:
    if error.instance == "":
        return (
            "invalid-value",
            "this value is empty",
            _make_example(error.schema) or "set a value, or remove the key",
        )
    return "invalid-value", "this does not have the right format", _make_example(error.schema)


_EXPLANATIONS = {
    "type": _explain_type,
    "enum": _explain_choice,
    "required": _explain_required,
    "not": _explain_not,
    "maxLength": _explain_length,
    "minLength": _explain_length,
    "maxItems": _explain_length,
    "minItems": _explain_length,
    "minimum": _explain_bound,
    "maximum": _explain_bound,
    "exclusiveMinimum": _explain_bound,
    "exclusiveMaximum": _explain_bound,
    "pattern": _explain_pattern,
}

_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def _type_name(value: object) -> str:
    names: Iterable[tuple[Any, str]] = (
        (bool, "true or false"),
        (date, "a timestamp"),
        (int, "a whole number"),
        (float, "a number" if isinstance(value, float) and math.isfinite(value) else "not a finite number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "something else")


def _get_unit(error: Any) -> str:
    return "characters" if error.validator.endswith("Length") else "entries"


def _make_example(schema: Any) -> str:
    examples = schema.get("examples") if isinstance(schema, Mapping) else None
    return f"for example: {examples[0]}" if examples else ""
