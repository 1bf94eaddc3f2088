"""GET /api/providers: every kind's vendors and the fields of their settings, as JSON Schema.

Secret fields are described (``writeOnly``), but have no values: no examples, no defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.catalog import Catalog
from agentsd.providers.vendor import Vendor
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import make_static_handler

_REVEALING_KEYS = ("default", "examples", "const", "enum")


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource. The response is made once: the catalog does not change."""
    return [
        web.get(
            "/api/providers",
            make_static_handler(lambda request: make_catalog_view(request.app[APP_CONTEXT].catalog)),
        )
    ]


def make_catalog_view(catalog: Catalog) -> dict[str, Any]:
    """Return ``{"llm": {"groq.com": {"schema": {...}, "secrets": ["api_key"]}}, "tts": ..., "stt": ...}``."""
    return {
        kind: {name: _make_vendor_view(vendor) for name, vendor in catalog.of(kind).items()}
        for kind in SECTIONS
    }


def _make_vendor_view(vendor: Vendor) -> dict[str, Any]:
    secrets = vendor.settings.secret_fields()
    schema = vendor.settings.model_json_schema()
    fields = {name: _drop_values(field, name in secrets) for name, field in schema["properties"].items()}
    return {"schema": schema | {"properties": fields}, "secrets": sorted(secrets)}


def _drop_values(field: Mapping[str, Any], secret: bool) -> dict[str, Any]:
    return {key: value for key, value in field.items() if not (secret and key in _REVEALING_KEYS)}
