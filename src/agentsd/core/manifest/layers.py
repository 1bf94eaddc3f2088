"""Layers: the ordered documents of one agent, and their merge. Pure.

    _defaults.yaml → acme/_defaults.yaml → acme/sales.yaml → ../envs/prod/acme/sales.yaml

Mappings merge; anything else, lists included, replaces the value below. Whoever chooses where a
section's secrets go must provide them: a layer that sets `provider` or an address inherits no
secret of that section, and another provider starts the section anew. Every layer has its own seal,
so the merge is decided on the sealed documents (``choices``) and carried out alike on the opened
ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.manifest.agent import SECTIONS, Attachment
from agentsd.core.manifest.document import Document, parse
from agentsd.core.manifest.pointers import at, get, leaves
from agentsd.core.names import is_overlay, owner_of
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import Pointer, Violation

Choices = dict[str, Any]
"""Name → choices of a mapping, or the index of the layer whose value counts."""

_PROMPTS = ("system_prompt", "system_prompt_file")
"""Two ways to say one thing: who says one of them replaces the other."""


@dataclass(frozen=True, slots=True)
class Layered(Document):
    """Manifest merged with its layers. ``path`` and ``data`` are its own, ``value`` is merged.

    ``value`` has a ``sops`` key if any of the layers is sealed.
    """

    layers: tuple[Document, ...] = ()  # the lowest first, the manifest itself among them
    choices: Choices = field(default_factory=dict, repr=False)

    def violation(
        self, pointer: Pointer, code: str, message: str, hint: str = "", *, key: bool = False
    ) -> Violation:
        """Return a violation at ``pointer``, in the file that contains the value."""
        return self.layer_of(pointer).violation(pointer, code, message, hint, key=key)

    def layer_of(self, pointer: Pointer) -> Document:
        """Return the layer that sets the value at ``pointer``; for a mapping, the highest one."""
        node: Any = self.choices
        depth = 0
        while isinstance(node, dict) and depth < len(pointer) and pointer[depth] in node:
            node, depth = node[pointer[depth]], depth + 1
        if isinstance(node, int):
            return self.layers[node]
        speaking = (one for one in reversed(self.layers) if isinstance(get(one.value, pointer[:depth]), dict))
        return next(speaking, self.own) if depth else self.own

    @property
    def own(self) -> Document:
        """Return the manifest alone."""
        return next(one for one in self.layers if one.path == self.path)

    def taken(self, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the same merge of other values of the layers, such as the opened ones."""
        return _taken(self.choices, values, ())

    def counts(self, pointer: Pointer, layer: int) -> bool:
        """Return whether the leaf at ``pointer`` comes from that layer."""
        return self._sources(pointer) == {layer}

    def together(self, pointers: Collection[Pointer]) -> bool:
        """Return whether all pointers come from one layer, so that one seal covers them."""
        return len({source for pointer in pointers for source in self._sources(pointer)}) <= 1

    def _sources(self, pointer: Pointer) -> set[int]:
        node: Any = self.choices
        for part in pointer:
            if not isinstance(node, dict):
                break
            node = node.get(part, {})
        return set(_indices(node))


def layered(own: Document, layers: Sequence[Document], destinations: DestinationsOf) -> Document:
    """Return ``own`` merged with its ``layers`` (in order, without itself); ``own`` if there are none."""
    if not layers:
        return own
    place = place_of(own.path, [layer.path for layer in layers])
    documents = (*layers[:place], own, *layers[place:])
    value: dict[str, Any] = {}
    choices: Choices = {}
    for index, document in enumerate(documents):
        said = {name: child for name, child in document.value.items() if name != "sops"}
        _cut(value, choices, said, destinations)
        _merge(value, choices, said, index)
    seals = [one.value["sops"] for one in (*documents, own) if "sops" in one.value]
    return Layered(own.path, own.data, value | {"sops": seals[-1]} if seals else value, documents, choices)


def effective(path: str, data: bytes, layers: Sequence[Attachment], destinations: DestinationsOf) -> Document:
    """Return a stored manifest merged with its layers. Raises ``InvalidManifests``."""
    return layered(parse(path, data), [parse(one.path, one.data or b"") for one in layers], destinations)


def place_of(own: str, layers: Sequence[str]) -> int:
    """Return how many ``layers`` (paths, in order) are below the manifest; overlays are above it."""
    if is_overlay(own):
        return len(layers)
    return next((index for index, path in enumerate(layers) if is_overlay(path)), len(layers))


def layers_of(document: Document) -> tuple[Document, ...]:
    """Return every document of an agent, the manifest included."""
    return document.layers if isinstance(document, Layered) else (document,)


def together(document: Document, pointer: Pointer, names: Collection[str]) -> bool:
    """Return whether these fields of the section at ``pointer`` come from one layer."""
    if not isinstance(document, Layered):
        return True
    return document.together([(*pointer, name) for name in names])


def borrowed(document: Document, owner: str) -> Iterator[Pointer]:
    """Yield the sealed values that ``owner`` would take from another owner's layer."""
    if not isinstance(document, Layered) or all(is_of(one, document, owner) for one in document.layers):
        return
    for pointer, leaf in leaves(document.value):
        if pointer[0] == "sops" or not is_sealed(leaf):
            continue
        if not is_of(document.layer_of(pointer), document, owner):
            yield pointer


def is_of(layer: Document, document: Document, owner: str) -> bool:
    """Return whether a layer of ``owner``'s agent belongs to that owner.

    The manifest itself does, whatever its path.
    """
    return layer.path == document.path or owner_of(layer.path) == owner


def _cut(value: dict[str, Any], choices: Choices, said: Mapping[str, Any], known: DestinationsOf) -> None:
    """Remove from the value below all that the next layer must not inherit."""
    gone: list[Pointer] = []
    if any(name in said for name in _PROMPTS):
        gone += [(name,) for name in _PROMPTS if name in value]
    for kind in SECTIONS:
        below, section = value.get(kind), said.get(kind)
        if isinstance(below, dict) and isinstance(section, Mapping):
            gone += _not_inherited(kind, below, section, known)
    for pointer in gone:
        del at(value, pointer[:-1])[pointer[-1]], at(choices, pointer[:-1])[pointer[-1]]


def _not_inherited(
    kind: str, below: Mapping[str, Any], section: Mapping[str, Any], known: DestinationsOf
) -> list[Pointer]:
    """Return what a layer that contains ``section`` does not inherit from ``below``."""
    before = below.get("provider")
    provider = section.get("provider", before)
    if before is not None and provider != before:
        return [(kind,)]
    places = known(kind, provider) if isinstance(provider, str) else None
    if places is not None and "provider" not in section and not places.urls.keys() & section.keys():
        return []
    secrets = places.secrets if places else frozenset()
    return [(kind, name) for name, child in below.items() if name in secrets or is_sealed(child)]


def _merge(value: dict[str, Any], choices: Choices, said: Mapping[str, Any], index: int) -> None:
    for name, new in said.items():
        old = value.get(name)
        if isinstance(new, dict) and isinstance(old, dict):
            _merge(old, choices[name], new, index)
        else:
            value[name], choices[name] = _copy(new), _all_of(new, index)


def _copy(value: Any) -> Any:
    return {name: _copy(child) for name, child in value.items()} if isinstance(value, dict) else value


def _all_of(value: Any, index: int) -> Any:
    return (
        {name: _all_of(child, index) for name, child in value.items()} if isinstance(value, dict) else index
    )


def _taken(choices: Choices, values: Sequence[Mapping[str, Any]], pointer: Pointer) -> dict[str, Any]:
    return {
        name: _taken(choice, values, (*pointer, name))
        if isinstance(choice, dict)
        else at(values[choice], (*pointer, name))
        for name, choice in choices.items()
    }


def _indices(node: Any) -> Iterator[int]:
    if isinstance(node, dict):
        for child in node.values():
            yield from _indices(child)
    else:
        yield node
