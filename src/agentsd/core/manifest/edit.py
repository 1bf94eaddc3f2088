"""Edits from the API: a body with the replies' field names becomes a manifest's new value.

Pure. ``PUT`` replaces the manifest's contents, ``PATCH`` merges (RFC 7396). A secret that is left
out or masked is kept, but only if it would go to the same provider and origin as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.pointers import at, get, leaves, put
from agentsd.core.manifest.sections import providers_in
from agentsd.core.sealed import is_sealed
from agentsd.core.secret import MASK
from agentsd.core.trust.rules import Destinations, DestinationsOf, origin
from agentsd.core.violations import Pointer, did_you_mean, dotted

FIELDS: Mapping[str, str] = {
    **{f"{kind}_provider_config": kind for kind in SECTIONS},
    "rag_config": "rag",
    "is_default": "default",
    "is_active": "active",
    **{
        name: name
        for name in (
            *("name", "description", "system_prompt", "system_prompt_file"),
            *("greeting", "language", "turn", "checks"),
        )
    },
}
"""What the API calls a field → what a manifest calls it."""

IDENTITY = ("id", "slug", "user")
"""Fields that say which agent is meant; an edit may repeat them, not change them."""

READ_ONLY = frozenset(
    (
        *("digest", "version", "source", "path", "commit", "created_at", "updated_at"),
        *("condition", "serving_version", "write_back"),
    )
)
"""Fields of a reply that no edit can set: they may be sent back, and are ignored."""

_SHOWN = 100
"""Characters of a field that there is not which an error repeats, and looks for a similar one of."""

_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("name", "description", "system_prompt", "system_prompt_file"), ""),
    **dict.fromkeys(("greeting", "language"), ""),
    **{name: {} for name in (*SECTIONS, "rag", "turn")},
    "checks": [],
}
"""What a reply gives for a field that the manifest lacks, by the manifest's names."""

Seals = Callable[[Pointer], bool]
"""Whether the file's own rule seals the value at a pointer."""


class InvalidEdit(AgentsdError):
    """Body that cannot become a manifest. ``param`` is the offending field, as the API calls it."""

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class SecretNeeded(InvalidEdit):
    """Secret that cannot be kept: it would go to another provider or origin than it was given for."""


@dataclass(frozen=True, slots=True)
class Edit:
    """New value of a manifest. Secrets to seal are in ``secrets``, by pointer, and not in ``value``.

    Where a secret replaces a sealed value, ``value`` still contains the sealed value.
    """

    value: dict[str, Any] = field(repr=False)
    secrets: dict[Pointer, str] = field(default_factory=dict, repr=False)


def fields_of(body: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest's fields in a body, under the manifest's names. Raises ``InvalidEdit``.

    ``identity``: the values that ``id``, ``slug`` and ``user`` must have if the body repeats them.
    """
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name in FIELDS:
            found[FIELDS[name]] = deepcopy(value)
        elif name in IDENTITY:
            if name in identity and value != identity[name]:
                hint = "leave it out; a manifest is renamed in git (its id goes with it)"
                raise InvalidEdit(f"{name} cannot be changed", hint=hint, param=name)
        elif name not in READ_ONLY:
            short = name[:_SHOWN]
            hint = did_you_mean(short, [*FIELDS, "slug"]) or f"known here: {', '.join(FIELDS)}"
            raise InvalidEdit(f"there is no field {short!r}", hint=hint, param=short)
    return found


def replaced(
    current: Mapping[str, Any], fields: Mapping[str, Any], destinations: DestinationsOf, seals: Seals
) -> Edit:
    """Return the edit of a ``PUT``: ``fields`` alone, but for id, ``prune`` and omitted secrets."""
    kept = {name: current[name] for name in ("id", "prune") if name in current}
    wanted = kept | {name: value for name, value in fields.items() if not _says_nothing(name, value, current)}
    wanted = {name: _without_nulls(value) if name in SECTIONS else value for name, value in wanted.items()}
    _carry_over(current, wanted, fields, destinations)
    return _settled(current, _in_order(current, wanted), destinations, seals)


def merged(
    current: Mapping[str, Any], fields: Mapping[str, Any], destinations: DestinationsOf, seals: Seals
) -> Edit:
    """Return the edit of a ``PATCH``: ``fields`` merged over ``current``; null removes.

    A section with another provider starts anew.
    """
    wanted = {name: deepcopy(value) for name, value in current.items() if name != "sops"}
    for name, value in fields.items():
        if _says_nothing(name, value, current) and name not in current:
            continue
        old = wanted.get(name)
        if name in SECTIONS and _provider(value) not in (None, _provider(old)):
            old = None
        result = _merge_patch(old, value)
        if result is None:
            wanted.pop(name, None)
        else:
            wanted[name] = result
    return _settled(current, wanted, destinations, seals)


def _provider(section: Any) -> Any:
    return section.get("provider") if isinstance(section, Mapping) else None


def _merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        merged_value = _merge_patch(result.get(name), value)
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged_value
    return result


def _says_nothing(name: str, value: Any, current: Mapping[str, Any]) -> bool:
    """Return whether a field has just the value that replies give for a field the manifest lacks.

    Such a value is not a reason to write the field.
    """
    empty = _EMPTY.get(name)
    if value is None or (type(value) is type(empty) and value == empty):
        return True
    if name in current:
        return False
    return (name == "default" and value is False) or (name == "active" and value is True)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _in_order(current: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return ``wanted`` in the order of ``current``, with new keys at the end."""
    names = [name for name in current if name in wanted] + [name for name in wanted if name not in current]
    return {name: wanted[name] for name in names}


def _carry_over(
    current: Mapping[str, Any], wanted: dict[str, Any], given: Mapping[str, Any], destinations: DestinationsOf
) -> None:
    """Restore the secrets that ``wanted`` leaves out, for the same provider and origin only."""
    before = dict(providers_in(current))
    for pointer, section in providers_in(wanted):
        old, known = before.get(pointer, {}), _destinations(pointer, section, destinations)
        if known is None or _provider(old) != _provider(section):
            continue
        holder, said = at(wanted, pointer), at(given, pointer)
        for name in sorted(known.secrets & old.keys() - said.keys()):
            if not _same_home(old, section, known):
                raise _needed((*pointer, name))
            holder[name] = old[name]


def _settled(
    current: Mapping[str, Any], wanted: dict[str, Any], destinations: DestinationsOf, seals: Seals
) -> Edit:
    """Replace masks by the values they represent, and separate new secrets from ``value``.

    Kept secrets must still go to the destination that they were given for.
    """
    for pointer, leaf in list(leaves(wanted)):
        if leaf == MASK:
            put(wanted, pointer, _behind(current, pointer))
    _check_kept(current, wanted, destinations)
    secret = _secret_pointers(wanted, destinations)
    secrets: dict[Pointer, str] = {}
    for pointer, leaf in list(leaves(wanted)):
        old = get(current, pointer)
        if is_sealed(leaf):
            if leaf != old:
                hint = "send the secret itself, or leave the field out to keep the present one"
                raise InvalidEdit(f"{api_name(pointer)} is sealed text", hint=hint, param=api_name(pointer))
        elif not isinstance(leaf, str) or leaf == old:
            continue
        elif pointer in secret or is_sealed(old) or seals(pointer):
            secrets[pointer] = leaf
            put(wanted, pointer, old if is_sealed(old) else None)
    return Edit(wanted, secrets)


def _check_kept(current: Mapping[str, Any], wanted: Mapping[str, Any], destinations: DestinationsOf) -> None:
    before = dict(providers_in(current))
    for pointer, section in providers_in(wanted):
        old, known = before.get(pointer, {}), _destinations(pointer, section, destinations)
        for name, value in section.items():
            if not is_sealed(value) or old.get(name) != value or known is None:
                continue
            same = (
                _same_home(old, section, known)
                if name in known.secrets
                else _provider(old) == _provider(section)
            )
            if not same:
                raise _needed((*pointer, name))


def _needed(pointer: Pointer) -> SecretNeeded:
    param = api_name(pointer)
    message = f"{param} cannot be kept: provider or address differ from those it was given for"
    return SecretNeeded(message, hint="send the secret again, or null to go without it", param=param)


def _destinations(
    pointer: Pointer, section: Mapping[str, Any], destinations: DestinationsOf
) -> Destinations | None:
    provider = section.get("provider")
    return destinations(str(pointer[0]), provider) if isinstance(provider, str) else None


def _same_home(old: Mapping[str, Any], new: Mapping[str, Any], known: Destinations) -> bool:
    """Return whether both sections send their secrets to the same provider at the same origins."""
    if old.get("provider") != new.get("provider"):
        return False
    return all(
        _place(old.get(name), default) == _place(new.get(name), default)
        for name, default in known.urls.items()
    )


def _place(url: Any, default: str | None) -> str:
    """Return the origin of a URL; for a sealed URL, which cannot be read here, the seal itself."""
    text = str(url or default or "")
    return text if is_sealed(text) else origin(text)


def _secret_pointers(wanted: Mapping[str, Any], destinations: DestinationsOf) -> frozenset[Pointer]:
    return frozenset(
        (*pointer, name)
        for pointer, section in providers_in(wanted)
        if (known := _destinations(pointer, section, destinations))
        for name in known.secrets & section.keys()
    )


def _behind(current: Mapping[str, Any], pointer: Pointer) -> Any:
    """Return the value that a mask represents."""
    old = get(current, pointer)
    if not isinstance(old, str) or not old:
        param = api_name(pointer)
        raise InvalidEdit(f"{param} is masked, but there is no secret to keep", hint="send it", param=param)
    return old


_API_NAMES = {manifest: api for api, manifest in FIELDS.items()}


def api_name(pointer: Pointer) -> str:
    """Return a pointer in the API's terms: ``llm_provider_config.fallback[0].api_key``."""
    return dotted((_API_NAMES.get(str(pointer[0]), pointer[0]), *pointer[1:]))
