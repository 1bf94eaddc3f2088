"""Text of a new manifest: a pinned id, the chosen providers, and the fields that they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args
from uuid import uuid4

from pydantic.fields import FieldInfo

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.scalars import UnusableScalar, resolve_scalar
from agentsd.core.violations import suggest_word
from agentsd.files.yaml.emitter import dump_value
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings

GivenFields = Mapping[tuple[str, str], str]
"""User input: (section, field) → text."""

DEFAULT_PROMPT = "You are a helpful assistant.\n"


def make_manifest_text(
    catalog: Catalog,
    name: str,
    providers: Mapping[str, str],
    fields: GivenFields,
    ask: Callable[[str, str], str],
) -> tuple[str, bool]:
    """Return (text, whether it contains plain secrets, to be sealed before anything is written).

    ``providers`` maps sections to vendors; ``ask(section, field)`` returns a secret. A required
    plain field that is not given takes the schema's example. Raises ``ConfigError``.
    """
    chosen = {kind: catalog.vendor(kind, vendor).settings for kind, vendor in providers.items()}
    given = {place: _convert_text(chosen, *place, text) for place, text in fields.items()}
    value: dict[str, Any] = {"id": str(uuid4()), "name": name, "system_prompt": DEFAULT_PROMPT}
    has_secrets = False
    for kind, settings in chosen.items():
        mine = {field: value for (section, field), value in given.items() if section == kind}
        secrets = {
            field: ask(kind, field)
            for field in _list_required_fields(settings)
            if _is_secret(settings, field)
        }
        value[kind] = {"provider": providers[kind], **secrets, **_collect_examples(settings), **mine}
        has_secrets = has_secrets or bool(secrets)
    return dump_value(value), has_secrets


def _convert_text(
    chosen: Mapping[str, type[ProviderSettings]], section: str, name: str, text: str
) -> str | int | float | bool | None:
    """Convert a given text to the type of its field."""
    settings = chosen.get(section)
    if settings is None:
        hint = f"use --{section}" if section in SECTIONS else f"sections are {', '.join(SECTIONS)}"
        raise ConfigError(f"{section}.{name}: no provider is chosen for {section!r}", hint=hint)
    field = settings.model_fields.get(name)
    if field is None or name == "provider":
        known = [one for one in settings.model_fields if one != "provider"]
        hint = suggest_word(name, known) or f"known fields: {', '.join(known)}"
        raise ConfigError(f"{section} has no field {name!r}", hint=hint)
    if _is_secret(settings, name):
        raise ConfigError(
            f"{section}.{name} is a secret: never put it on a command line, where others can read it",
            hint="omit it: it is prompted for, or read from standard input",
        )
    if _accepts_text(field):
        return text
    try:
        return resolve_scalar(text)
    except UnusableScalar as error:
        raise ConfigError(f"{section}.{name}: {error.message}", hint=error.hint) from None


def _accepts_text(field: FieldInfo) -> bool:
    return str in (field.annotation, *get_args(field.annotation))


def _list_required_fields(settings: type[ProviderSettings]) -> list[str]:
    return [n for n, field in settings.model_fields.items() if field.is_required() and n != "provider"]


def _is_secret(settings: type[ProviderSettings], name: str) -> bool:
    return name in settings.secret_fields()


def _collect_examples(settings: type[ProviderSettings]) -> dict[str, Any]:
    return {
        name: examples[0]
        for name in _list_required_fields(settings)
        if not _is_secret(settings, name) and (examples := settings.model_fields[name].examples)
    }
