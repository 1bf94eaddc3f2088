"""Manifests, built from a file's name and a checked document."""

from __future__ import annotations

from uuid import UUID

from agentsd.core.manifest.agent import Attachments, Manifest, compute_digest
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.handoff import NO_LINKS, AgentLinks
from agentsd.core.names import derive_agent_id, derive_owner, derive_slug, find_slug_problem, suggest_slug
from agentsd.core.violations import Violation
from agentsd.sops.format import fingerprint_by_owner


def check_manifest_name(path: str) -> Violation | None:
    """Return the violation in the name of a manifest, or None."""
    slug = derive_slug(path)
    problem = find_slug_problem(slug)
    if problem is None:
        return None
    suffix = path[len(slug) :]
    return Violation(path, "slug-invalid", problem, f"rename it, for example to {suggest_slug(slug)}{suffix}")


def build_manifest(
    document: Document, digest: bytes, attachments: Attachments, links: AgentLinks = NO_LINKS
) -> tuple[Manifest, tuple[Violation, ...]]:
    """Build the manifest, not verified yet, and warnings.

    ``digest``: of the file alone, without its layers. ``links``: to other agents.
    """
    value = document.value
    slug = derive_slug(document.path)
    pinned = value.get("id")
    seals, lent = fingerprint_by_owner(document, derive_owner(document.path))
    manifest = Manifest(
        id=UUID(pinned) if pinned else derive_agent_id(slug),
        slug=slug,
        owner=derive_owner(document.path),
        path=document.path,
        digest=compute_digest(digest, attachments),
        document_digest=digest,
        attachments=attachments,
        default=bool(value.get("default", False)),
        verified=False,
        active=bool(value.get("active", True)),
        value={key: child for key, child in value.items() if key != "sops"},
        data=document.data,
        seals=seals,
        lent=lent,
        links=links,
    )
    return manifest, () if pinned else (_warn_unpinned(document, manifest.id),)


def _warn_unpinned(document: Document, agent_id: UUID) -> Violation:
    return Violation(
        document.path,
        "id-missing",
        "no id is pinned, so a rename would create another agent",
        f"add the line: id: {agent_id}",
        severity="warning",
    )
