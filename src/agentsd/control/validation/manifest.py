"""Manifests, built from a file's name and a checked document."""

from __future__ import annotations

from uuid import UUID

from agentsd.core.manifest.agent import Attachments, Manifest, digest_of
from agentsd.core.manifest.document import Document
from agentsd.core.names import id_of, owner_of, slug_of, slug_problem, suggest_slug
from agentsd.core.violations import Violation
from agentsd.sops.format import seals_of


def name_violation(path: str) -> Violation | None:
    """Return the violation in the name of a manifest, or None."""
    slug = slug_of(path)
    problem = slug_problem(slug)
    if problem is None:
        return None
    suffix = path[len(slug) :]
    return Violation(path, "slug-invalid", problem, f"rename it, for example to {suggest_slug(slug)}{suffix}")


def manifest_of(
    document: Document, digest: bytes, attachments: Attachments
) -> tuple[Manifest, tuple[Violation, ...]]:
    """Build the manifest, not verified yet, and warnings.

    ``digest``: of the file alone, without its layers.
    """
    value = document.value
    slug = slug_of(document.path)
    pinned = value.get("id")
    seals, lent = seals_of(document, owner_of(document.path))
    manifest = Manifest(
        id=UUID(pinned) if pinned else id_of(slug),
        slug=slug,
        owner=owner_of(document.path),
        path=document.path,
        digest=digest_of(digest, attachments),
        document_digest=digest,
        attachments=attachments,
        default=bool(value.get("default", False)),
        verified=False,
        active=bool(value.get("active", True)),
        value={key: child for key, child in value.items() if key != "sops"},
        data=document.data,
        seals=seals,
        lent=lent,
    )
    return manifest, () if pinned else (_unpinned(document, manifest.id),)


def _unpinned(document: Document, agent_id: UUID) -> Violation:
    return Violation(
        document.path,
        "id-missing",
        "no id is pinned, so a rename would make another agent of it",
        f"add the line: id: {agent_id}",
        severity="warning",
    )
