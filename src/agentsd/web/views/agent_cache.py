"""Cache of rendered agents: bytes and ETags, so that a read needs no parsing and no encoding.

A view depends on an agent's row, which never changes, and on its condition and status, which may; so the
long part is kept by row and the short tail is renewed when one of these is another object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from uuid import UUID

from multidict import CIMultiDict

from agentsd.core.ledger.status import AgentStatus
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.masker import Masker
from agentsd.core.trust.rules import DestinationsOf
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.web.http.conditional import make_cache_headers
from agentsd.web.http.json import to_json
from agentsd.web.views.agent import (
    ListMissing,
    can_name_provider,
    list_lacks,
    list_vendors,
    load_document,
    make_agent_head,
    make_agent_state,
    make_agent_summary,
)
from agentsd.web.views.statuses import AgentStatuses, find_refusal, is_refused_file

CACHE_BYTES_MAX = 64 << 20
VENDORS_MAX = 200_000
"""Maximum agents whose vendors are cached, deleted ones included; about 200 bytes each."""
_OVERHEAD_BYTES = 2600  # approximate bytes of Python objects per rendered agent


@dataclass(frozen=True)
class RenderedAgent:
    """Agent as JSON. ``etag`` is strong and quoted: digest, version, and a hash of the rest."""

    row: AgentRow
    condition: AgentCondition
    good: AgentRow | None
    status: AgentStatus
    head: bytes  # the JSON without the condition and the closing brace
    body: bytes
    etag: str
    headers: CIMultiDict[str]
    description: str
    providers: Mapping[str, str]  # section → vendor
    lacks: Sequence[str]

    @cached_property
    def summary(self) -> bytes:
        """Return the list item as JSON."""
        state = make_agent_state(self.condition, self.good, self.status)
        return to_json(make_agent_summary(self.row, state, self.description, self.providers, self.lacks))


class AgentViewCache:
    """Renderer of agents with a cache of up to ``CACHE_BYTES_MAX`` bytes, which evicts the oldest first."""

    def __init__(
        self,
        masker: Masker,
        destinations: DestinationsOf,
        list_missing: ListMissing = lambda *_: (),
        statuses: AgentStatuses | None = None,
    ) -> None:
        self.masker = masker
        self.statuses = statuses or AgentStatuses()
        self._list_missing = list_missing
        self.destinations = destinations
        self._used = 0
        self._kept: dict[str, RenderedAgent] = {}
        self._vendors: dict[UUID, tuple[bytes, frozenset[str]]] = {}  # id → digest, vendors
        self._sets: dict[frozenset[str], frozenset[str]] = {}  # interned: many agents share few sets

    def of(self, entry: SnapshotEntry) -> RenderedAgent:
        """Return the current rendering of ``entry``."""
        kept, status = self._kept.get(entry.row.slug), self.statuses.of(entry)
        if kept is not None and kept.row is not entry.row:
            kept = None
        if (
            kept is not None
            and kept.condition is entry.condition
            and kept.good is entry.good
            and kept.status is status
        ):
            return kept
        rendered = self._render(entry, kept, status)
        self._keep(rendered)
        return rendered

    def summary(self, entry: SnapshotEntry) -> bytes:
        """Return the list item of ``entry`` as JSON; of a refused file, too."""
        if is_refused_file(entry):
            status = AgentStatus("File refused", find_refusal(entry, {}))
            return to_json(
                make_agent_summary(entry.row, make_agent_state(entry.condition, None, status), "", {}, ())
            )
        return self.of(entry).summary

    def names_provider(self, entry: SnapshotEntry, provider: str) -> bool:
        """Return whether a section of the agent names ``provider``. Parse only if necessary, and once."""
        row = entry.row
        digest, vendors = self._vendors.get(row.id, (b"", frozenset()))
        if digest != row.digest:
            if not can_name_provider(row.documents, provider):
                return False
            vendors = self._read_vendors(row)
        return provider in vendors

    def _read_vendors(self, row: AgentRow) -> frozenset[str]:
        """Return the agent's vendors from a cache separate from the views.

        A filter reads those of all agents, more than the cache may hold of views.
        """
        vendors = frozenset(list_vendors(load_document(row, self.destinations), self.masker).values())
        vendors = self._sets.setdefault(vendors, vendors)
        if len(self._vendors) >= VENDORS_MAX:
            self._vendors.clear()
        self._vendors[row.id] = row.digest, vendors
        return vendors

    def _render(
        self, entry: SnapshotEntry, previous: RenderedAgent | None, status: AgentStatus
    ) -> RenderedAgent:
        row, condition, good = entry.row, entry.condition, entry.good
        if previous is None:
            document = load_document(row, self.destinations)
            lacks: Sequence[str] = list_lacks(row, document, self._list_missing)
            reply = make_agent_head(row, document, self.masker, lacks)
            head, description = to_json(reply)[:-1], reply.description
            providers: Mapping[str, str] = list_vendors(document, self.masker)
        else:
            head, description = previous.head, previous.description
            providers, lacks = previous.providers, previous.lacks
        body = head + b"," + to_json(make_agent_state(condition, good, status))[1:]
        etag = f'"{row.digest.hex()}.{row.version}.{sha256(body).hexdigest()[:12]}"'
        headers = make_cache_headers(etag)
        return RenderedAgent(
            row, condition, good, status, head, body, etag, headers, description, providers, lacks
        )

    def _keep(self, rendered: RenderedAgent) -> None:
        self._drop(rendered.row.slug)
        self._kept[rendered.row.slug] = rendered
        self._used += _measure_bytes(rendered)
        while self._used > CACHE_BYTES_MAX and self._kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, slug: str) -> None:
        gone = self._kept.pop(slug, None)
        if gone is not None:
            self._used -= _measure_bytes(gone)


def _measure_bytes(rendered: RenderedAgent) -> int:
    return len(rendered.head) + len(rendered.body) + _OVERHEAD_BYTES
