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
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_existing, get_value, iter_leaves
from agentsd.core.names import derive_owner, is_overlay
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import Pointer, Violation

Choices = dict[str, Any]
"""Name → choices of a mapping, or the index of the layer whose value counts."""

_PROMPTS = ("system_prompt", "system_prompt_file")
"""Alternatives: a layer that sets one of them replaces the other."""


@dataclass(frozen=True, slots=True)
class LayeredDocument(Document):
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
        speaking = (
            one for one in reversed(self.layers) if isinstance(get_value(one.value, pointer[:depth]), dict)
        )
        return next(speaking, self.own) if depth else self.own

    @property
    def own(self) -> Document:
        """Return the manifest alone."""
        return next(one for one in self.layers if one.path == self.path)

    def taken(self, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the same merge of other values of the layers, such as the opened ones."""
        return _take_values(self.choices, values, ())

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
        return set(_iter_indices(node))


def merge_layers(own: Document, layers: Sequence[Document], destinations: DestinationsOf) -> Document:
    """Return ``own`` merged with its ``layers`` (in order, without itself); ``own`` if there are none."""
    if not layers:
        return own
    place = count_lower_layers(own.path, [layer.path for layer in layers])
    documents = (*layers[:place], own, *layers[place:])
    value: dict[str, Any] = {}
    choices: Choices = {}
    for index, document in enumerate(documents):
        said = {name: child for name, child in document.value.items() if name != "sops"}
        _cut_uninherited(value, choices, said, destinations)
        _merge_layer(value, choices, said, index)
    seals = [one.value["sops"] for one in (*documents, own) if "sops" in one.value]
    return LayeredDocument(
        own.path, own.data, value | {"sops": seals[-1]} if seals else value, documents, choices
    )


def merge_stored_layers(
    path: str, data: bytes, layers: Sequence[Attachment], destinations: DestinationsOf
) -> Document:
    """Return a stored manifest merged with its layers. Raises ``InvalidManifests``."""
    return merge_layers(
        parse_document(path, data),
        [parse_document(one.path, one.data or b"") for one in layers],
        destinations,
    )


def count_lower_layers(own: str, layers: Sequence[str]) -> int:
    """Return how many ``layers`` (paths, in order) are below the manifest; overlays are above it."""
    if is_overlay(own):
        return len(layers)
    return next((index for index, path in enumerate(layers) if is_overlay(path)), len(layers))


def get_layers(document: Document) -> tuple[Document, ...]:
    """Return every document of an agent, the manifest included."""
    return document.layers if isinstance(document, LayeredDocument) else (document,)


def is_from_one_layer(document: Document, pointer: Pointer, names: Collection[str]) -> bool:
    """Return whether these fields of the section at ``pointer`` come from one layer."""
    if not isinstance(document, LayeredDocument):
        return True
    return document.together([(*pointer, name) for name in names])


def find_borrowed_seals(document: Document, owner: str) -> Iterator[Pointer]:
    """Yield the sealed values that ``owner`` would take from another owner's layer."""
    if not isinstance(document, LayeredDocument) or all(
        is_owned_by(one, document, owner) for one in document.layers
    ):
        return
    for pointer, leaf in iter_leaves(document.value):
        if pointer[0] == "sops" or not is_sealed(leaf):
            continue
        if not is_owned_by(document.layer_of(pointer), document, owner):
            yield pointer


def is_owned_by(layer: Document, document: Document, owner: str) -> bool:
    """Return whether a layer of ``owner``'s agent belongs to that owner.

    The manifest itself does, whatever its path.
    """
    return layer.path == document.path or derive_owner(layer.path) == owner


def _cut_uninherited(
    value: dict[str, Any], choices: Choices, said: Mapping[str, Any], known: DestinationsOf
) -> None:
    """Remove from the value below all that the next layer must not inherit."""
    gone: list[Pointer] = []
    if any(name in said for name in _PROMPTS):
        gone += [(name,) for name in _PROMPTS if name in value]
    for kind in SECTIONS:
        below, section = value.get(kind), said.get(kind)
        if isinstance(below, dict) and isinstance(section, Mapping):
            gone += _find_uninherited(kind, below, section, known)
    for pointer in gone:
        del get_existing(value, pointer[:-1])[pointer[-1]], get_existing(choices, pointer[:-1])[pointer[-1]]


def _find_uninherited(
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


def _merge_layer(value: dict[str, Any], choices: Choices, said: Mapping[str, Any], index: int) -> None:
    for name, new in said.items():
        old = value.get(name)
        if isinstance(new, dict) and isinstance(old, dict):
            _merge_layer(old, choices[name], new, index)
        else:
            value[name], choices[name] = _copy_value(new), _mark_all(new, index)


def _copy_value(value: Any) -> Any:
    return {name: _copy_value(child) for name, child in value.items()} if isinstance(value, dict) else value


def _mark_all(value: Any, index: int) -> Any:
    return (
        {name: _mark_all(child, index) for name, child in value.items()} if isinstance(value, dict) else index
    )


def _take_values(choices: Choices, values: Sequence[Mapping[str, Any]], pointer: Pointer) -> dict[str, Any]:
    return {
        name: _take_values(choice, values, (*pointer, name))
        if isinstance(choice, dict)
        else get_existing(values[choice], (*pointer, name))
        for name, choice in choices.items()
    }


def _iter_indices(node: Any) -> Iterator[int]:
    if isinstance(node, dict):
        for child in node.values():
            yield from _iter_indices(child)
    else:
        yield node
