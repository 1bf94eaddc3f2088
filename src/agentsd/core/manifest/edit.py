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
from agentsd.core.manifest.pointers import get_existing, get_value, iter_leaves, set_leaf
from agentsd.core.manifest.sections import iter_providers
from agentsd.core.sealed import is_sealed
from agentsd.core.secret import MASK
from agentsd.core.trust.rules import Destinations, DestinationsOf, normalise_origin
from agentsd.core.violations import Pointer, format_pointer, suggest_word

API_FIELDS: Mapping[str, str] = {
    **{f"{kind}_provider_config": kind for kind in SECTIONS},
    "rag_config": "rag",
    "is_default": "default",
    "is_active": "active",
    **{
        name: name
        for name in (
            *("name", "description", "system_prompt", "system_prompt_file"),
            *("greeting", "language", "turn", "on_error", "variables", "overrides", "handoff"),
            *("tools", "tool_rounds", "checks"),
        )
    },
}
"""Field name of the API → field name of a manifest."""

IDENTITY_FIELDS = ("id", "slug", "user")
"""Fields that identify the agent; an edit may repeat them, not change them."""

READ_ONLY_FIELDS = frozenset(
    (
        *("digest", "version", "source", "path", "commit", "created_at", "updated_at"),
        *("condition", "status", "serving_version", "lacks", "write_back"),
    )
)
"""Read-only fields of a reply: an edit may contain them, and they are ignored."""

_SHOWN = 100
"""Characters of an unknown field's name that an error quotes and compares with known ones."""

_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("name", "description", "system_prompt", "system_prompt_file"), ""),
    **dict.fromkeys(("greeting", "language"), ""),
    **{name: {} for name in (*SECTIONS, "rag", "turn", "on_error", "variables")},
    **{name: [] for name in ("tools", "handoff", "checks")},
    "overrides": None,
}
"""Value in a reply of a field that the manifest lacks, by the manifest's names."""

IsSealedAt = Callable[[Pointer], bool]
"""Whether the file's own rule seals the value at a pointer."""


class InvalidEdit(AgentsdError):
    """Body that cannot become a manifest. ``param`` is the offending field, as the API calls it."""

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class SecretNeeded(InvalidEdit):
    """Secret that cannot be kept: it would go to another provider or origin than it was given for."""


@dataclass(frozen=True, slots=True)
class ManifestEdit:
    """New value of a manifest. Secrets to seal are in ``secrets``, by pointer, and not in ``value``.

    Where a secret replaces a sealed value, ``value`` still contains the sealed value.
    """

    value: dict[str, Any] = field(repr=False)
    secrets: dict[Pointer, str] = field(default_factory=dict, repr=False)


def extract_fields(body: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest's fields in a body, under the manifest's names. Raises ``InvalidEdit``.

    ``identity``: the values that ``id``, ``slug`` and ``user`` must have if the body repeats them.
    """
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name in API_FIELDS:
            found[API_FIELDS[name]] = deepcopy(value)
        elif name in IDENTITY_FIELDS:
            if name in identity and value != identity[name]:
                hint = "omit it; rename a manifest in git (it keeps its id)"
                raise InvalidEdit(f"{name} cannot be changed", hint=hint, param=name)
        elif name not in READ_ONLY_FIELDS:
            short = name[:_SHOWN]
            hint = suggest_word(short, [*API_FIELDS, "slug"]) or f"known fields: {', '.join(API_FIELDS)}"
            raise InvalidEdit(f"there is no field {short!r}", hint=hint, param=short)
    return found


def replace_fields(
    current: Mapping[str, Any], fields: Mapping[str, Any], destinations: DestinationsOf, seals: IsSealedAt
) -> ManifestEdit:
    """Return the edit of a ``PUT``: ``fields`` alone, but for id, ``prune`` and omitted secrets."""
    kept = {name: current[name] for name in ("id", "prune") if name in current}
    wanted = kept | {
        name: value for name, value in fields.items() if not _is_empty_default(name, value, current)
    }
    wanted = {name: _without_nulls(value) if name in SECTIONS else value for name, value in wanted.items()}
    _carry_over_secrets(current, wanted, fields, destinations)
    return _resolve_masks(current, _order_like(current, wanted), destinations, seals)


def merge_fields(
    current: Mapping[str, Any], fields: Mapping[str, Any], destinations: DestinationsOf, seals: IsSealedAt
) -> ManifestEdit:
    """Return the edit of a ``PATCH``: ``fields`` merged over ``current``; null removes.

    A section with another provider starts anew.
    """
    wanted = {name: deepcopy(value) for name, value in current.items() if name != "sops"}
    for name, value in fields.items():
        if _is_empty_default(name, value, current) and name not in current:
            continue
        old = wanted.get(name)
        if name in SECTIONS and _get_provider(value) not in (None, _get_provider(old)):
            old = None
        result = _merge_patch(old, value)
        if result is None:
            wanted.pop(name, None)
        else:
            wanted[name] = result
    return _resolve_masks(current, wanted, destinations, seals)


def _get_provider(section: Any) -> Any:
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


def _is_empty_default(name: str, value: Any, current: Mapping[str, Any]) -> bool:
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


def _order_like(current: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return ``wanted`` in the order of ``current``, with new keys at the end."""
    names = [name for name in current if name in wanted] + [name for name in wanted if name not in current]
    return {name: wanted[name] for name in names}


def _carry_over_secrets(
    current: Mapping[str, Any], wanted: dict[str, Any], given: Mapping[str, Any], destinations: DestinationsOf
) -> None:
    """Restore the secrets that ``wanted`` leaves out, for the same provider and origin only."""
    before = dict(iter_providers(current))
    for pointer, section in iter_providers(wanted):
        old, known = before.get(pointer, {}), _find_destinations(pointer, section, destinations)
        if known is None or _get_provider(old) != _get_provider(section):
            continue
        holder, said = get_existing(wanted, pointer), get_existing(given, pointer)
        for name in sorted(known.secrets & old.keys() - said.keys()):
            if not _has_same_destination(old, section, known):
                raise _make_secret_needed((*pointer, name))
            holder[name] = old[name]


def _resolve_masks(
    current: Mapping[str, Any], wanted: dict[str, Any], destinations: DestinationsOf, seals: IsSealedAt
) -> ManifestEdit:
    """Replace masks by the values they represent, and separate new secrets from ``value``.

    Kept secrets must still go to the destination that they were given for.
    """
    for pointer, leaf in list(iter_leaves(wanted)):
        if leaf == MASK:
            set_leaf(wanted, pointer, _get_masked_value(current, _find_old_place(current, wanted, pointer)))
    _check_kept(current, wanted, destinations)
    secret = _find_secret_pointers(wanted, destinations)
    secrets: dict[Pointer, str] = {}
    for pointer, leaf in list(iter_leaves(wanted)):
        old = get_value(current, _find_old_place(current, wanted, pointer))
        if is_sealed(leaf):
            if leaf != old:
                hint = "send the secret itself, or omit the field to keep the current one"
                raise InvalidEdit(
                    f"{to_api_name(pointer)} is sealed text", hint=hint, param=to_api_name(pointer)
                )
        elif not isinstance(leaf, str) or leaf == old:
            continue
        elif pointer in secret or is_sealed(old) or seals(pointer):
            secrets[pointer] = leaf
            set_leaf(wanted, pointer, old if is_sealed(old) else None)
    return ManifestEdit(wanted, secrets)


def _check_kept(current: Mapping[str, Any], wanted: Mapping[str, Any], destinations: DestinationsOf) -> None:
    before = dict(iter_providers(current))
    for pointer, section in iter_providers(wanted):
        old, known = before.get(pointer, {}), _find_destinations(pointer, section, destinations)
        for name, value in section.items():
            if not is_sealed(value) or old.get(name) != value or known is None:
                continue
            same = (
                _has_same_destination(old, section, known)
                if name in known.secrets
                else _get_provider(old) == _get_provider(section)
            )
            if not same:
                raise _make_secret_needed((*pointer, name))


def _make_secret_needed(pointer: Pointer) -> SecretNeeded:
    param = to_api_name(pointer)
    message = f"{param} cannot be kept: it was given for another provider or address"
    return SecretNeeded(message, hint="send the secret again, or null to remove it", param=param)


def _find_destinations(
    pointer: Pointer, section: Mapping[str, Any], destinations: DestinationsOf
) -> Destinations | None:
    provider = section.get("provider")
    return destinations(str(pointer[0]), provider) if isinstance(provider, str) else None


def _has_same_destination(old: Mapping[str, Any], new: Mapping[str, Any], known: Destinations) -> bool:
    """Return whether both sections send their secrets to the same provider at the same origins."""
    if old.get("provider") != new.get("provider"):
        return False
    return all(
        _get_origin(old.get(name), default) == _get_origin(new.get(name), default)
        for name, default in known.urls.items()
    )


def _get_origin(url: Any, default: str | None) -> str:
    """Return the origin of a URL; for a sealed URL, which cannot be read here, the seal itself."""
    text = str(url or default or "")
    return text if is_sealed(text) else normalise_origin(text)


def _find_secret_pointers(wanted: Mapping[str, Any], destinations: DestinationsOf) -> frozenset[Pointer]:
    return frozenset(
        (*pointer, name)
        for pointer, section in iter_providers(wanted)
        if (known := _find_destinations(pointer, section, destinations))
        for name in known.secrets & section.keys()
    )


def _find_old_place(current: Mapping[str, Any], wanted: Mapping[str, Any], pointer: Pointer) -> Pointer:
    """Return where a value was before: a tool may have moved in its list, and keeps its name or address."""
    if pointer[0] != "tools" or len(pointer) < 2 or not isinstance(pointer[1], int):
        return pointer
    identity = _identify_tool(get_value(wanted, pointer[:2]))
    entries = current.get("tools")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if identity is not None and _identify_tool(entry) == identity:
            return ("tools", index, *pointer[2:])
    return pointer


def _identify_tool(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return None
    return entry.get("name") or get_value(entry, ("mcp", "url"))


def _get_masked_value(current: Mapping[str, Any], pointer: Pointer) -> Any:
    """Return the value that a mask represents: a secret, or a key with its origin."""
    old = get_value(current, pointer)
    if isinstance(old, Mapping) and old:
        return deepcopy(old)
    if not isinstance(old, str) or not old:
        param = to_api_name(pointer)
        raise InvalidEdit(f"{param} is masked, but there is no secret to keep", hint="send it", param=param)
    return old


_API_NAMES = {manifest: api for api, manifest in API_FIELDS.items()}


def to_api_name(pointer: Pointer) -> str:
    """Return a pointer in the API's terms: ``llm_provider_config.fallback[0].api_key``."""
    return format_pointer((_API_NAMES.get(str(pointer[0]), pointer[0]), *pointer[1:]))
