"""Import of the replaced system's ``.env`` as one agent, with a note on every variable.

The file is only parsed: no shell, no expansion, and the environment of the process is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from dotenv.parser import parse_stream

from agentsd.control.importers.dotenv_names import (
    SELECTOR_VARIABLES,
    VARIABLE_NAMES,
    VENDOR_VARIABLES,
    OldVendor,
    convert_value,
)
from agentsd.control.importers.draft import (
    ImportNote,
    convert_text,
    explain_placeholder,
    find_example,
    find_schema_errors,
)
from agentsd.core.errors import ConfigError
from agentsd.core.violations import suggest_word
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings

ENV_MAX_BYTES = 1 << 20

MANIFEST_HEAD: Mapping[str, Any] = {
    "name": "Development Agent",
    "description": "Imported from the .env of the old system",
    "system_prompt": "You are a helpful assistant.\n",
}
"""Defaults for fields without an old variable."""

DEFAULT_SLUG = "development"


@dataclass(frozen=True, slots=True)
class EnvVariable:
    """Variable of the file."""

    name: str
    value: str | None = field(repr=False)
    line: int | None = None


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Parsed file. ``notes`` concern lines that do not count."""

    variables: Mapping[str, EnvVariable]
    notes: tuple[ImportNote, ...] = ()


@dataclass(frozen=True, slots=True)
class MigratedEnv:
    """Sections of the agent in plain text, and a note on everything that was read, in file order."""

    sections: dict[str, dict[str, Any]] = field(repr=False)
    notes: tuple[ImportNote, ...]


def read_env(name: str, data: bytes) -> EnvFile:
    """Parse the variables of a ``.env``; the last one of a name counts. Raises ``ConfigError``."""
    if len(data) > ENV_MAX_BYTES:
        raise ConfigError(f"{name} is larger than 1 MiB", hint="is it a .env file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8", hint="save it as UTF-8, then retry") from None
    variables: dict[str, EnvVariable] = {}
    notes: list[ImportNote] = []
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line + _count_blank_lines(binding.original.string)
        if binding.error:
            notes.append(ImportNote(f"line {line}", "unused", "it cannot be read as NAME=value", line))
        elif binding.key is not None:
            earlier = variables.pop(binding.key, None)
            if earlier is not None:
                again = f"it is set again in line {line}, and the last one counts"
                notes.append(ImportNote(binding.key, "unused", again, earlier.line))
            variables[binding.key] = EnvVariable(binding.key, binding.value, line)
    return EnvFile(variables, tuple(notes))


def _count_blank_lines(text: str) -> int:
    """Count the blank lines before a variable, which the parser attributes to it."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def read_environ(environ: Mapping[str, str]) -> EnvFile:
    """Return the old system's variables that are set in ``environ``; all others are ignored."""
    return EnvFile(
        {name: EnvVariable(name, environ[name]) for name in sorted(VARIABLE_NAMES & environ.keys())}
    )


def migrate_env(read: EnvFile, catalog: Catalog) -> MigratedEnv:
    """Build the sections from the variables. Writes nothing and asks for nothing."""
    notes = list(read.notes)
    sections: dict[str, dict[str, Any]] = {}
    for kind in SELECTOR_VARIABLES:
        section = _make_section(kind, read.variables, catalog, notes)
        if section is not None:
            sections[kind] = section
    told = {note.name for note in notes[len(read.notes) :]}
    notes += [_note_left_over(one) for one in read.variables.values() if one.name not in told]
    return MigratedEnv(sections, tuple(sorted(notes, key=lambda note: (note.line is None, note.line or 0))))


def is_old_env(read: EnvFile, migrated: MigratedEnv) -> bool:
    """Return whether the file is the replaced system's: at least one vendor's variable was used."""
    used = {note.name for note in migrated.notes if note.outcome == "used"}
    return bool(migrated.sections and used & VARIABLE_NAMES & read.variables.keys())


def _make_section(
    kind: str, variables: Mapping[str, EnvVariable], catalog: Catalog, notes: list[ImportNote]
) -> dict[str, Any] | None:
    selector, default = SELECTOR_VARIABLES[kind]
    provider = _choose_vendor(kind, variables.get(selector), notes)
    for other, vendor in VENDOR_VARIABLES[kind].items():
        if other != provider:
            _note_unused_vendor(vendor, variables, f"{selector} is {provider or 'not usable'}", notes)
    if provider is None:
        return None
    vendor = VENDOR_VARIABLES[kind][provider]
    _note_fixed(vendor, variables, notes)
    settings = catalog.vendor(kind, provider).settings
    section, sources = _fill_section(kind, provider, vendor, variables, settings, notes)
    if not _complete_section(kind, section, vendor, settings, notes):
        for source in sources.values():
            notes.append(ImportNote(source.name, "unused", f"{kind} is omitted", source.line))
        return None
    for name, source in sources.items():
        notes.append(ImportNote(source.name, "used", f"{kind}.{name}", source.line))
    if selector in variables and not any(note.name == selector for note in notes):
        notes.append(ImportNote(selector, "used", f"{kind}.provider", variables[selector].line))
    elif not any(note.name == selector for note in notes):
        notes.append(ImportNote(selector, "assumed", f"{kind}.provider: {default}, as the old system did"))
    return section


def _choose_vendor(kind: str, variable: EnvVariable | None, notes: list[ImportNote]) -> str | None:
    """Return the chosen vendor, or None where the one that is named is unknown."""
    selector, default = SELECTOR_VARIABLES[kind]
    if variable is None:
        return default
    why = explain_placeholder(variable.value)
    if why:
        notes.append(ImportNote(selector, "placeholder", f"{why}; {default} is taken", variable.line))
        return default
    wanted = str(variable.value).strip().lower()
    known = VENDOR_VARIABLES[kind]
    found = wanted if wanted in known else next((one for one in known if one.split(".")[0] == wanted), None)
    if found is None:
        hint = suggest_word(wanted, known) or f"known: {', '.join(known)}"
        notes.append(
            ImportNote(selector, "unused", f"unknown provider, so {kind} is omitted; {hint}", variable.line)
        )
    return found


def _note_unused_vendor(
    vendor: OldVendor, variables: Mapping[str, EnvVariable], why: str, notes: list[ImportNote]
) -> None:
    for name in (*vendor.fields, *vendor.fixed):
        if name in variables:
            notes.append(ImportNote(name, "unused", why, variables[name].line))


def _note_fixed(vendor: OldVendor, variables: Mapping[str, EnvVariable], notes: list[ImportNote]) -> None:
    for name, value in vendor.fixed.items():
        if name in variables:
            notes.append(ImportNote(name, "unused", f"agentsd always asks for {value}", variables[name].line))


def _fill_section(
    kind: str,
    provider: str,
    vendor: OldVendor,
    variables: Mapping[str, EnvVariable],
    settings: type[ProviderSettings],
    notes: list[ImportNote],
) -> tuple[dict[str, Any], dict[str, EnvVariable]]:
    """Fill the section from the variables, and return it with the source of each field."""
    section: dict[str, Any] = {"provider": provider}
    sources: dict[str, EnvVariable] = {}
    for name, target in vendor.fields.items():
        variable = variables.get(name)
        if variable is None:
            continue
        why = explain_placeholder(variable.value)
        if why:
            notes.append(ImportNote(name, "placeholder", why, variable.line))
        elif target in section:
            notes.append(
                ImportNote(name, "unused", f"{sources[target].name} sets {kind}.{target}", variable.line)
            )
        else:
            section[target] = convert_text(settings, target, convert_value(name, str(variable.value).strip()))
            sources[target] = variable
    for target, rule in find_schema_errors(settings, section).items():
        if target in sources:
            gone = sources.pop(target)
            del section[target]
            text = f"no value for {kind}.{target} ({rule.replace('_', ' ')})"
            notes.append(ImportNote(gone.name, "unused", text, gone.line))
    return section, sources


def _complete_section(
    kind: str,
    section: dict[str, Any],
    vendor: OldVendor,
    settings: type[ProviderSettings],
    notes: list[ImportNote],
) -> bool:
    """Complete the section with the schema's examples for required fields; return whether it is valid."""
    variables = {target: name for name, target in reversed(list(vendor.fields.items()))}
    for target in find_schema_errors(settings, section):
        given = find_example(settings, target)
        name = variables.get(target, f"{kind}.{target}")
        if given is None:
            told = any(note.name == name for note in notes)
            text = f"{kind} is omitted: {section['provider']} requires {kind}.{target}"
            notes.append(ImportNote(kind if told else name, "missing", text))
            return False
        section[target] = given
        notes.append(ImportNote(f"{kind}.{target}", "assumed", "the schema's example: set the right one"))
    return not find_schema_errors(settings, section)


def _note_left_over(variable: EnvVariable) -> ImportNote:
    if variable.name.startswith(("AGENTSD_", "SOPS_")):
        text = "a setting of agentsd or sops: export it, this file is not read at run time"
    else:
        near = suggest_word(variable.name, VARIABLE_NAMES)
        text = f"no variable of an agent; {near}" if near else "no variable of an agent"
    return ImportNote(variable.name, "unused", text, variable.line)
