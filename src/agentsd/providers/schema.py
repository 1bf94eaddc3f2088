"""Common base of every vendor's settings: the section of a manifest that configures a provider.

A vendor's settings class is a frozen pydantic model whose field names are the manifest's own.
It declares which fields are secret (``Secret``), which are destinations (``Url``) and which
origins the vendor itself owns; everything else (JSON Schema, masking, trust rules) follows.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, get_args

from pydantic import Field, InstanceOf
from pydantic.json_schema import SkipJsonSchema

from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.secret import Secret
from agentsd.core.trust.rules import Destinations

Url = Annotated[
    str,
    Field(pattern=r"^(https?|wss?)://[^/?#@\s]+(/[^?#\s]*)?$", json_schema_extra={"x-url": True}),
]
"""An absolute URL without user, query or fragment: a place that a secret is sent to."""

ProxyUrl = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+/?$")]
"""The URL of a forward proxy, without user-info."""

UrlPath = Annotated[str, Field(pattern=r"^/[^?#\s]*$")]
"""A path that is appended to a ``Url``. It starts with ``/``, so it cannot change the origin."""


class ProviderSettings(StrictModel):
    """Base of every vendor's settings; the subclass adds ``provider: Literal["vendor.name"]``."""

    home: ClassVar[frozenset[str]] = frozenset()
    """Origins of the vendor itself: a secret may go there without further trust."""

    provider: str
    fallback: SkipJsonSchema[tuple[InstanceOf[ProviderSettings], ...]] = ()
    """Fallbacks, in order. ``Catalog.settings_of`` makes them, each by its own vendor's class."""

    @classmethod
    def provider_name(cls) -> str:
        """Return the discriminator: ``groq.com``."""
        (name,) = get_args(cls.model_fields["provider"].annotation)
        return str(name)

    @classmethod
    def secret_fields(cls) -> frozenset[str]:
        """Return the names of the fields that hold a ``Secret``."""
        return frozenset(
            name for name, field in cls.model_fields.items() if Secret in _list_types(field.annotation)
        )

    @classmethod
    def url_fields(cls) -> dict[str, str | None]:
        """Return destination fields and their defaults (None: the manifest must set it)."""
        return {
            name: field.default if isinstance(field.default, str) else None
            for name, field in cls.model_fields.items()
            if _is_marked(field, "x-url")
        }

    def has_secret(self) -> bool:
        """Return whether it, or a fallback of it, has a key of its vendor's."""
        own = any(getattr(self, name, None) is not None for name in self.destinations().secrets)
        return own or any(fallback.has_secret() for fallback in self.fallback)

    @classmethod
    @cache
    def destinations(cls) -> Destinations:
        """Return the data of this vendor for the trust rule. Called several times for every file."""
        return Destinations(cls.secret_fields(), cls.url_fields(), cls.home)


def _list_types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _is_marked(field: Any, mark: str) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(mark))
