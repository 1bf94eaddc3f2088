"""Base of every section of a manifest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Model that is frozen, has strict types and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
