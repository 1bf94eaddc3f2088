"""Merged view of an agent and its layers: masked, with the place of each value. Needs no key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agentsd.control.writeback.manifest_editor import rank_field
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.layers import get_layers, merge_layers
from agentsd.core.manifest.positions import NodePositions
from agentsd.core.manifest.value_origins import ValueOrigin, iter_origins, iter_values
from agentsd.core.names import USER_FILE, derive_slug
from agentsd.core.violations import Pointer, suggest_word
from agentsd.files.tree import Tree
from agentsd.files.yaml.emitter import dump_value
from agentsd.providers.catalog import Catalog


@dataclass(frozen=True, slots=True)
class RenderedManifest:
    """Merged manifest of one agent: ``value`` is masked and has no ``sops``."""

    slug: str
    document: Document
    value: dict[str, Any]

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the files that it is made from, the lowest first."""
        return tuple(layer.path for layer in get_layers(self.document))

    def origins(self) -> Iterator[ValueOrigin]:
        """Yield every value with its place."""
        return iter_origins(self.document, self.value)

    def lines(self) -> Iterator[tuple[str, Pointer | None]]:
        """Yield the YAML line by line, each with the value that begins on it."""
        text = dump_value(self.value)
        places = NodePositions(text.encode())
        begins = {places.of(pointer)[0]: pointer for pointer, _ in iter_values(self.value)}
        for number, line in enumerate(text.split("\n")[:-1], 1):
            yield line, begins.get(number)


def render_agent(tree: Tree, agent: str, catalog: Catalog) -> RenderedManifest:
    """Render the agent of a slug. Raises ``AgentNotFound``, and ``InvalidManifests`` for unreadable files."""
    beside = tree.beside
    manifests = {
        derive_slug(path): file
        for path, file in tree.files.items()
        if path not in beside.layers and PurePosixPath(path).name != USER_FILE
    }
    file = manifests.get(agent)
    if file is None:
        hint = suggest_word(agent, manifests) or f"agents are the files of {tree.root}"
        raise AgentNotFound(f"there is no agent {agent!r}", hint=hint)
    below = [parse_document(one.path, one.data) for one in beside.layers_of(file.path)]
    document = merge_layers(parse_document(file.path, file.data), below, catalog.destinations)
    names = sorted(document.value.keys() - {"sops"}, key=lambda name: (rank_field(name), name))
    plain = {name: document.value[name] for name in names}
    return RenderedManifest(agent, document, catalog.make_masker().mask(plain))
