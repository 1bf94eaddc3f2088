"""JSON Schemas (draft 2020-12) of manifests and user files, made from the pydantic models.

pydantic describes an *opened* document. This module turns that into the schema of the document
*as it is in git*, where a value may be sealed: a secret must be, a structural field must not,
anything else may, and then its seal's tag must name the field's own type.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any, cast

from pydantic import BaseModel

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.agent import SECTIONS, AgentHead
from agentsd.core.manifest.schema_validation import Validator
from agentsd.core.manifest.sections import FALLBACK
from agentsd.core.manifest.user import UserFile
from agentsd.providers.catalog import Catalog

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SEAL_TYPE_TAGS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_SECTION_TITLES = {
    "llm": "Large language model",
    "tts": "Text to speech",
    "stt": "Speech to text",
    "embedding": "Embedding",
}
NOT_SEALED_SCHEMA = {"not": {"type": "string", "pattern": r"^ENC\["}}
_SOPS_SCHEMA: Schema = {
    "type": "object",
    "description": "Written by sops; not to be edited by hand.",
    "required": ["mac", "lastmodified"],
}


class ManifestSchemas:
    """Schemas of one catalog of providers, and their validators."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @cached_property
    def agent_validator(self) -> Validator:
        """Return the validator of manifests."""
        return Validator(self.agent)

    @cached_property
    def layer_validator(self) -> Validator:
        """Return the validator of layers."""
        return Validator(self.layer)

    @cached_property
    def user_validator(self) -> Validator:
        """Return the validator of ``_user.yaml``."""
        return Validator(self.user)

    @cached_property
    def agent(self) -> Schema:
        """Return the schema of a manifest."""
        head = _make_model_schema(AgentHead)
        definitions: Schema = head.pop("$defs", {})
        for kind in SECTIONS:
            head["properties"][kind] = self._section(kind, definitions)
        head["properties"]["sops"] = _SOPS_SCHEMA
        return _make_document(
            head, definitions, "agent", "One agent: a manifest of agents.d/, sealed by sops."
        )

    @cached_property
    def layer(self) -> Schema:
        """Return the schema of a layer: a manifest's, with everything optional."""
        return make_optional(self.agent, {kind: self._secrets(kind) for kind in SECTIONS})

    def _secrets(self, kind: str) -> dict[str, bool]:
        """Return every field that a section may have, and whether it may contain a secret."""
        models = [vendor.settings for vendor in self.catalog.of(kind).values()]
        secret = {name for model in models for name in model.secret_fields()}
        return {name: name in secret for model in models for name in model.model_fields}

    @cached_property
    def user(self) -> Schema:
        """Return the schema of ``_user.yaml``."""
        schema = _make_model_schema(UserFile)
        return _make_document(
            schema, schema.pop("$defs", {}), "user", "_user.yaml: who owns a folder of manifests."
        )

    def opened(self, kind: str) -> dict[str, Schema]:
        """Return the schema of each vendor's section by the vendor's name, as it is once its seals are open.

        Secrets are plain strings (``writeOnly``); ``fallback`` is not among the properties.
        """
        return {
            name: _inline_definitions(_make_model_schema(vendor.settings))
            for name, vendor in sorted(self.catalog.of(kind).items())
        }

    @staticmethod
    def opened_head() -> Schema:
        """Return the schema of a manifest without its providers, as it is once its seals are open."""
        return _make_model_schema(AgentHead)

    def _section(self, kind: str, definitions: Schema) -> Schema:
        """Return one section, chosen by ``provider``; ``if``/``then`` gives editors and errors one branch."""
        vendors = self.catalog.of(kind)
        branches = []
        for name, schema in self.opened(kind).items():
            key = f"{kind}-{name}"
            schema["properties"][FALLBACK] = {"$ref": f"#/$defs/{kind}-{FALLBACK}"}
            definitions[key] = schema
            matches = {"properties": {"provider": {"const": name}}, "required": ["provider"]}
            branches.append({"if": matches, "then": {"$ref": f"#/$defs/{key}"}})
        provider = {
            "type": "string",
            "enum": sorted(vendors),
            "x-plain": True,
            "description": f"Vendor of this agent's {_SECTION_TITLES[kind].lower()}.",
        }
        definitions[f"{kind}-{FALLBACK}"] = {
            "type": "array",
            "description": "Who takes over, in order, when the provider fails before its answer begins.",
            "minItems": 1,
            "maxItems": 4,
            "items": {
                "type": "object",
                "required": ["provider"],
                "properties": {"provider": provider, FALLBACK: {"not": {}}},
                "allOf": branches,
            },
        }
        return {
            "type": "object",
            "title": _SECTION_TITLES[kind],
            "description": f"{_SECTION_TITLES[kind]}: the provider and its settings.",
            "required": ["provider"],
            "properties": {"provider": provider},
            "allOf": branches,
        }

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield (file name, text) of every schema."""
        for name, schema in (("agent", self.agent), ("layer", self.layer), ("user", self.user)):
            yield f"{name}.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


_SHARED: deque[ManifestSchemas] = deque(maxlen=4)


def share_schemas(catalog: Catalog) -> ManifestSchemas:
    """Return the schemas that this process has made of ``catalog``: to make and compile them takes 0.1 s."""
    for schemas in _SHARED:
        if schemas.catalog is catalog:
            return schemas
    schemas = ManifestSchemas(catalog)
    _SHARED.append(schemas)
    return schemas


def make_optional(agent: Schema, fields: Mapping[str, Mapping[str, bool]]) -> Schema:
    """Return ``agent`` with nothing required but within lists: those do not merge, so they are whole.

    ``fields`` of each section: all that any vendor has, and which are secret, for a section that leaves
    its provider to another layer.
    """
    schema = deepcopy(agent)
    definitions = schema["$defs"]
    definitions["Rag"].pop("required", None)
    for kind, known in fields.items():
        section = schema["properties"][kind]
        del section["required"]
        for branch in section["allOf"]:
            name = branch["then"]["$ref"].rpartition("/")[2]
            part = {key: child for key, child in definitions[name].items() if key != "required"}
            definitions[f"{name}-part"] = part
            branch["then"] = {"$ref": f"#/$defs/{name}-part"}
        section["allOf"].append(
            {"if": {"not": {"required": ["provider"]}}, "then": _make_any_vendor_section(kind, known)}
        )
    schema["$id"] = "urn:agentsd:schema:layer"
    schema["title"] = "A layer: what agents have in common (_defaults.yaml), or what an overlay changes."
    return schema


def _make_any_vendor_section(kind: str, known: Mapping[str, bool]) -> Schema:
    secret: Schema = {"$ref": "#/$defs/sealed-str", "writeOnly": True}
    fields = {name: secret if known[name] else {} for name in sorted(known)}
    fallback = {"$ref": f"#/$defs/{kind}-{FALLBACK}"}
    return {"properties": {**fields, FALLBACK: fallback}, "additionalProperties": False}


def _make_document(schema: Schema, definitions: Schema, name: str, title: str) -> Schema:
    sealable = _add_seals({**schema, "$defs": definitions})
    body = {key: value for key, value in sealable.items() if key not in ("title", "description")}
    body["$defs"] |= {f"sealed-{tag}": _make_seal(tag) for tag in SEAL_TYPE_TAGS.values()}
    return {"$schema": DIALECT, "$id": f"urn:agentsd:schema:{name}", "title": title, **body}


def _make_seal(tag: str) -> Schema:
    pattern = rf"^ENC\[AES256_GCM,data:.+,iv:.+,tag:.+,type:{tag}\]$"
    return {"type": "string", "pattern": pattern, "description": "A value sealed by sops."}


def _make_model_schema(model: type[BaseModel]) -> Schema:
    schema = deepcopy(model.model_json_schema(mode="validation"))
    for name, prop in schema.get("properties", {}).items():
        if "description" not in prop and name != "provider":
            raise ConfigError(
                f"{model.__name__}.{name} has no description", hint="describe it: editors show it"
            )
    return schema


def _inline_definitions(schema: Schema) -> Schema:
    """Return a section's schema without ``$defs``: it becomes a part of several documents."""
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if name in definitions:
            node = {**definitions[name], **{key: child for key, child in node.items() if key != "$ref"}}
        return {key: inline(child) for key, child in node.items()}

    return cast("Schema", inline(schema))


def _add_seals(node: Any) -> Any:
    """Return ``node`` with every scalar's schema widened, or narrowed, to what is allowed in git."""
    if isinstance(node, list):
        return [_add_seals(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "properties" not in node and ("type" in node or "anyOf" in node or "const" in node or "enum" in node):
        return _make_field(node)
    kept = {key: child for key, child in node.items() if key != "title"}
    return {key: _add_seals_to_keyword(key, child) for key, child in kept.items()}


def _add_seals_to_keyword(key: str, child: Any) -> Any:
    if key == "if":
        return child
    return _add_seals_to_children(child) if key in ("properties", "$defs") else _add_seals(child)


def _add_seals_to_children(properties: Mapping[str, Any]) -> Schema:
    return {name: _add_seals(child) for name, child in properties.items()}


def _make_field(node: Schema) -> Schema:
    """Return one field: without null, without pydantic's titles, and with its seal where allowed."""
    node = strip_null({key: value for key, value in node.items() if key != "title"})
    plain = node.pop("x-plain", False) or "const" in node
    node.pop("x-url", None)
    if node.pop("writeOnly", False):
        return {"$ref": "#/$defs/sealed-str", "writeOnly": True, **_pick_annotations(node)}
    if node.get("type") == "array":
        return node | {"items": _forbid_seal(node["items"]) if plain else _add_seals(node["items"])}
    if "anyOf" in node:
        if plain:
            return _forbid_seal(node)
        return node | {"anyOf": [_seal_secret(one) for one in node["anyOf"]]}
    if "type" not in node or node["type"] not in SEAL_TYPE_TAGS:
        return node
    return _forbid_seal(node) if plain else _allow_seal(node)


def _seal_secret(node: Schema) -> Schema:
    """Return an alternative: a secret is sealed, anything else is as it was."""
    return {"$ref": "#/$defs/sealed-str"} if node.get("writeOnly") else node


def strip_null(node: Schema) -> Schema:
    """Remove null: an optional field may be absent, never null.

    Keys of plain values are not authenticated.
    """
    node = {key: value for key, value in node.items() if not (key == "default" and value is None)}
    if "anyOf" not in node:
        return node
    kinds = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
    if len(kinds) != 1:
        return node | {"anyOf": kinds}
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**{key: value for key, value in kinds[0].items() if key != "title"}, **rest}


def _forbid_seal(node: Schema) -> Schema:
    textual = "anyOf" in node or (node["type"] == "string" and "const" not in node)
    return node | NOT_SEALED_SCHEMA if textual else node


def _allow_seal(node: Schema) -> Schema:
    """Allow the value itself, or its seal of the same type."""
    notes = _pick_annotations(node)
    constraints = {key: value for key, value in node.items() if key not in notes}
    tags = ["float", "int"] if node["type"] == "number" else [SEAL_TYPE_TAGS[node["type"]]]
    seals = [{"$ref": f"#/$defs/sealed-{tag}"} for tag in tags]
    return {"anyOf": [_forbid_seal(constraints), *seals], **notes}


def _pick_annotations(node: Schema) -> Schema:
    return {key: node[key] for key in ("description", "examples", "default") if key in node}
