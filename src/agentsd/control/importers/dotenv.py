"""Import of the replaced system's ``.env`` as one agent, with a note on every variable.

The file is only parsed: no shell, no expansion, and the environment of the process is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from dotenv.parser import parse_stream

from agentsd.control.importers.dotenv_names import NAMES, SELECTORS, VENDORS, OldVendor, converted
from agentsd.control.importers.draft import Note, example, refused, typed, why_placeholder
from agentsd.core.errors import ConfigError
from agentsd.core.violations import did_you_mean
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings

MAX_BYTES = 1 << 20

HEAD: Mapping[str, Any] = {
    "name": "Development Agent",
    "description": "Imported from the .env of the system before",
    "system_prompt": "You are a helpful assistant.\n",
}
"""What the old variables said nothing about."""

SLUG = "development"


@dataclass(frozen=True, slots=True)
class Variable:
    """Variable of the file."""

    name: str
    value: str | None = field(repr=False)
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Parsed file. ``notes`` concern lines that do not count."""

    variables: Mapping[str, Variable]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Migrated:
    """Sections of the agent in plain text, and a note on everything that was read, in file order."""

    sections: dict[str, dict[str, Any]] = field(repr=False)
    notes: tuple[Note, ...]


def read_env(name: str, data: bytes) -> Read:
    """Parse the variables of a ``.env``; the last one of a name counts. Raises ``ConfigError``."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than 1 MiB", hint="is it a .env file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8", hint="save it as UTF-8, then retry") from None
    variables: dict[str, Variable] = {}
    notes: list[Note] = []
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error:
            notes.append(Note(f"line {line}", "unused", "it cannot be read as NAME=value", line))
        elif binding.key is not None:
            earlier = variables.pop(binding.key, None)
            if earlier is not None:
                again = f"it is said again in line {line}, and the last one counts"
                notes.append(Note(binding.key, "unused", again, earlier.line))
            variables[binding.key] = Variable(binding.key, binding.value, line)
    return Read(variables, tuple(notes))


def _blank_lines(text: str) -> int:
    """Count the blank lines before a variable, which the parser attributes to it."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def read_environ(environ: Mapping[str, str]) -> Read:
    """Return the old system's variables that are set in ``environ``; all others are ignored."""
    return Read({name: Variable(name, environ[name]) for name in sorted(NAMES & environ.keys())})


def migrate(read: Read, catalog: Catalog) -> Migrated:
    """Build the sections from the variables. Writes nothing and asks for nothing."""
    notes = list(read.notes)
    sections: dict[str, dict[str, Any]] = {}
    for kind in SELECTORS:
        section = _section(kind, read.variables, catalog, notes)
        if section is not None:
            sections[kind] = section
    told = {note.name for note in notes[len(read.notes) :]}
    notes += [_left_over(one) for one in read.variables.values() if one.name not in told]
    return Migrated(sections, tuple(sorted(notes, key=lambda note: (note.line is None, note.line or 0))))


def is_old(read: Read, migrated: Migrated) -> bool:
    """Return whether the file is the replaced system's: at least one vendor's variable was used."""
    used = {note.name for note in migrated.notes if note.outcome == "used"}
    return bool(migrated.sections and used & NAMES & read.variables.keys())


def _section(
    kind: str, variables: Mapping[str, Variable], catalog: Catalog, notes: list[Note]
) -> dict[str, Any] | None:
    selector, default = SELECTORS[kind]
    provider = _chosen(kind, variables.get(selector), notes)
    for other, vendor in VENDORS[kind].items():
        if other != provider:
            _pass_over(vendor, variables, f"{selector} is {provider or 'not usable'}", notes)
    if provider is None:
        return None
    vendor = VENDORS[kind][provider]
    _tell_fixed(vendor, variables, notes)
    settings = catalog.vendor(kind, provider).settings
    section, sources = _fields(kind, provider, vendor, variables, settings, notes)
    if not _completed(kind, section, vendor, settings, notes):
        for source in sources.values():
            notes.append(Note(source.name, "unused", f"{kind} is left out", source.line))
        return None
    for name, source in sources.items():
        notes.append(Note(source.name, "used", f"{kind}.{name}", source.line))
    if selector in variables and not any(note.name == selector for note in notes):
        notes.append(Note(selector, "used", f"{kind}.provider", variables[selector].line))
    elif not any(note.name == selector for note in notes):
        notes.append(Note(selector, "assumed", f"{kind}.provider: {default}, as the old system did"))
    return section


def _chosen(kind: str, variable: Variable | None, notes: list[Note]) -> str | None:
    """Return the chosen vendor, or None where the one that is named is unknown."""
    selector, default = SELECTORS[kind]
    if variable is None:
        return default
    why = why_placeholder(variable.value)
    if why:
        notes.append(Note(selector, "placeholder", f"{why}; {default} is taken", variable.line))
        return default
    wanted = str(variable.value).strip().lower()
    known = VENDORS[kind]
    found = wanted if wanted in known else next((one for one in known if one.split(".")[0] == wanted), None)
    if found is None:
        hint = did_you_mean(wanted, known) or f"known: {', '.join(known)}"
        notes.append(
            Note(selector, "unused", f"no such provider, so {kind} is left out; {hint}", variable.line)
        )
    return found


def _pass_over(vendor: OldVendor, variables: Mapping[str, Variable], why: str, notes: list[Note]) -> None:
    for name in (*vendor.fields, *vendor.fixed):
        if name in variables:
            notes.append(Note(name, "unused", why, variables[name].line))


def _tell_fixed(vendor: OldVendor, variables: Mapping[str, Variable], notes: list[Note]) -> None:
    for name, value in vendor.fixed.items():
        if name in variables:
            notes.append(Note(name, "unused", f"agentsd always asks for {value}", variables[name].line))


def _fields(
    kind: str,
    provider: str,
    vendor: OldVendor,
    variables: Mapping[str, Variable],
    settings: type[ProviderSettings],
    notes: list[Note],
) -> tuple[dict[str, Any], dict[str, Variable]]:
    """Fill the section from the variables, and return it with the source of each field."""
    section: dict[str, Any] = {"provider": provider}
    sources: dict[str, Variable] = {}
    for name, target in vendor.fields.items():
        variable = variables.get(name)
        if variable is None:
            continue
        why = why_placeholder(variable.value)
        if why:
            notes.append(Note(name, "placeholder", why, variable.line))
        elif target in section:
            notes.append(Note(name, "unused", f"{sources[target].name} says {kind}.{target}", variable.line))
        else:
            section[target] = typed(settings, target, converted(name, str(variable.value).strip()))
            sources[target] = variable
    for target, rule in refused(settings, section).items():
        if target in sources:
            gone = sources.pop(target)
            del section[target]
            text = f"no value for {kind}.{target} ({rule.replace('_', ' ')})"
            notes.append(Note(gone.name, "unused", text, gone.line))
    return section, sources


def _completed(
    kind: str,
    section: dict[str, Any],
    vendor: OldVendor,
    settings: type[ProviderSettings],
    notes: list[Note],
) -> bool:
    """Complete the section with the schema's examples for required fields; return whether it is valid."""
    variables = {target: name for name, target in reversed(list(vendor.fields.items()))}
    for target in refused(settings, section):
        given = example(settings, target)
        name = variables.get(target, f"{kind}.{target}")
        if given is None:
            told = any(note.name == name for note in notes)
            text = f"{kind} is left out: {section['provider']} cannot do without {kind}.{target}"
            notes.append(Note(kind if told else name, "missing", text))
            return False
        section[target] = given
        notes.append(Note(f"{kind}.{target}", "assumed", "the schema's example: say which one is meant"))
    return not refused(settings, section)


def _left_over(variable: Variable) -> Note:
    if variable.name.startswith(("AGENTSD_", "SOPS_")):
        text = "a setting of agentsd or sops: export it, this file is not read at run time"
    else:
        near = did_you_mean(variable.name, NAMES)
        text = f"no variable of an agent; {near}" if near else "no variable of an agent"
    return Note(variable.name, "unused", text, variable.line)
