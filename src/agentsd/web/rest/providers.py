"""GET /api/providers: every kind's vendors and the fields of their settings, as JSON Schema.

Secret fields are described (``writeOnly``), but have no values: no examples, no defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.catalog import Catalog
from agentsd.providers.vendor import Vendor
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import make_static_handler

_REVEALING_KEYS = ("default", "examples", "const", "enum")


@dataclass(frozen=True)
class VendorReply:
    """Settings of a vendor."""

    schema: Annotated[dict[str, Any], Field(description="A JSON Schema.")]
    secrets: Annotated[list[str], Field(description="The fields that are sealed.")]


@dataclass(frozen=True)
class ProvidersReply:
    """Vendors by name, for each kind."""

    llm: dict[str, VendorReply]
    tts: dict[str, VendorReply]
    stt: dict[str, VendorReply]
    embedding: dict[str, VendorReply]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource. The response is made once: the catalog does not change."""
    return [
        web.get(
            "/api/providers",
            make_static_handler(lambda request: make_catalog_reply(request.app[APP_CONTEXT].catalog)),
        )
    ]


def make_catalog_reply(catalog: Catalog) -> ProvidersReply:
    """Return every vendor of ``catalog`` with its settings."""
    kinds = {
        kind: {name: _make_vendor_reply(vendor) for name, vendor in catalog.of(kind).items()}
        for kind in SECTIONS
    }
    return ProvidersReply(**kinds)


def _make_vendor_reply(vendor: Vendor) -> VendorReply:
    secrets = vendor.settings.secret_fields()
    schema = vendor.settings.model_json_schema()
    fields = {name: _drop_values(field, name in secrets) for name, field in schema["properties"].items()}
    return VendorReply(schema | {"properties": fields}, sorted(secrets))


def _drop_values(field: Mapping[str, Any], secret: bool) -> dict[str, Any]:
    return {key: value for key, value in field.items() if not (secret and key in _REVEALING_KEYS)}
