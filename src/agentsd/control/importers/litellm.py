"""Import of LiteLLM's ``config.yaml``: each name of its ``model_list`` becomes one agent.

https://docs.litellm.ai/docs/proxy/configs. Deployments that share a name become fallbacks here,
where LiteLLM spreads the load over them. A value ``os.environ/NAME`` is read from the variables
that the caller passes, and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from agentsd.control.importers.draft import (
    ImportNote,
    ManifestDraft,
    NoteOutcome,
    explain_placeholder,
    find_schema_errors,
    make_draft,
)
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.sections import FALLBACK
from agentsd.core.names import find_slug_problem, suggest_slug
from agentsd.providers.catalog import Catalog

CONFIG_MAX_BYTES = 1 << 20
_VENDORS = {
    "groq": "groq.com",
    "mistral": "mistral.ai",
    "openrouter": "openrouter.ai",
    "openai": "openai.com",
    "text-completion-openai": "",
    **dict.fromkeys(
        ("anthropic", "azure", "azure_ai", "bedrock", "cohere", "gemini", "palm", "replicate", "sagemaker"),
        "",
    ),
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta", "watsonx", "huggingface", "triton", "petals"), ""),
}
"""LiteLLM's prefix → our vendor; empty: its own protocol, so an address does not help."""

_NATIVE_PREFIXES = frozenset(("ollama", "ollama_chat"))
"""Their address is of their own protocol; they speak OpenAI's beside it, under /v1."""

_BASE_URLS = {
    "groq.com": "https://api.groq.com/openai/v1",
    "mistral.ai": "https://api.mistral.ai/v1",
    "openrouter.ai": "https://openrouter.ai/api/v1",
    "openai.com": "https://api.openai.com/v1",
}
_PLAIN_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "timeout": "timeout_seconds",
}
_ENVIRON_PREFIX = "os.environ/"


@dataclass(frozen=True, slots=True)
class MigratedConfig:
    """Drafts of the manifests, and a note on everything that was read."""

    drafts: tuple[ManifestDraft, ...]
    notes: tuple[ImportNote, ...]


@dataclass(frozen=True, slots=True)
class _Deployment:
    """Deployment of the list."""

    where: str  # model_list[3]
    name: str
    params: Mapping[str, Any] = field(repr=False)


class _UnusableDeployment(Exception):
    """Reason why a deployment cannot be imported; ``missing``: the variable that it lacks."""

    def __init__(self, text: str, *, missing: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.outcome: NoteOutcome = "missing" if missing else "unused"


def read_config(name: str, data: bytes) -> dict[str, Any]:
    """Parse the YAML of a configuration. Raises ``ConfigError``, which quotes nothing of it."""
    if len(data) > CONFIG_MAX_BYTES:
        raise ConfigError(f"{name} is larger than 1 MiB", hint="is it a LiteLLM config.yaml?")
    try:
        value = yaml.load(data, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{place}: not YAML", hint="correct it, then retry") from None
    if not isinstance(value, dict) or not isinstance(value.get("model_list"), list):
        raise ConfigError(f"{name} has no model_list", hint="is it a LiteLLM config.yaml?")
    return value


def migrate_config(
    config: Mapping[str, Any],
    environ: Mapping[str, str],
    catalog: Catalog,
    *,
    owner: str,
    trusted: frozenset[str],
) -> MigratedConfig:
    """Make one draft for each name with usable deployments, below ``owner`` (empty: at the top)."""
    notes = [
        ImportNote(str(key), "unused", "a setting of the proxy") for key in config if key != "model_list"
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in _iterate_deployments(config["model_list"], notes):
        try:
            section, keys = _make_section(entry, environ, catalog, notes)
        except _UnusableDeployment as unfit:
            notes.append(ImportNote(f"{entry.where} {entry.name}", unfit.outcome, unfit.text))
            continue
        sections = groups.setdefault(entry.name, [])
        sections.append(section)
        place = "llm" if len(sections) == 1 else f"llm.{FALLBACK}[{len(sections) - 2}]"
        slug = _make_slug(entry.name, owner)
        notes += [ImportNote(name, "used", f"{slug}: {place}.{field}") for name, field in keys.items()]
        notes.append(
            ImportNote(f"{entry.where} {entry.name}", "used", f"{slug}: {place}, {section['provider']}")
        )
    return MigratedConfig(tuple(_make_drafts(groups, owner, catalog, trusted, notes)), tuple(notes))


def _iterate_deployments(models: list[Any], notes: list[ImportNote]) -> Iterator[_Deployment]:
    for index, model in enumerate(models):
        where = f"model_list[{index}]"
        params = model.get("litellm_params") if isinstance(model, dict) else None
        if not isinstance(params, dict) or not isinstance(params.get("model"), str):
            notes.append(ImportNote(where, "unused", "it has no litellm_params.model"))
            continue
        name = model.get("model_name")
        yield _Deployment(where, name if isinstance(name, str) and name else params["model"], params)


def _make_section(
    entry: _Deployment, environ: Mapping[str, str], catalog: Catalog, notes: list[ImportNote]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Make the section, and return which variable went into which field. Raises ``_UnusableDeployment``."""
    keys: dict[str, str] = {}
    base = _read_parameter(entry, "api_base", environ, keys) or _read_parameter(
        entry, "base_url", environ, keys
    )
    provider, model = _find_vendor(entry, base)
    section: dict[str, Any] = {"provider": provider}
    key = _read_parameter(entry, "api_key", environ, keys)
    if key:
        section["api_key"] = key
    section["model"] = model
    if base and base.rstrip("/") != _BASE_URLS.get(provider):
        native = entry.params["model"].partition("/")[0] in _NATIVE_PREFIXES
        section["api_url"] = base.rstrip("/")
        section["completions_path"] = "/v1/chat/completions" if native else "/chat/completions"
    section |= {
        ours: entry.params[theirs]
        for theirs, ours in _PLAIN_PARAMETERS.items()
        if entry.params.get(theirs) is not None
    }
    _check_section(section, catalog)
    known = {"model", "api_key", "api_base", "base_url", *_PLAIN_PARAMETERS}
    left = ", ".join(str(name) for name in entry.params if name not in known)
    if left:
        notes.append(ImportNote(f"{entry.where} {entry.name}", "unused", f"no matching field: {left}"))
    return section, {name: field for name, field in keys.items() if field in section}


def _find_vendor(entry: _Deployment, base: str) -> tuple[str, str]:
    """Return (our vendor, the model as that vendor names it). Raises ``_UnusableDeployment``."""
    full = str(entry.params["model"])
    prefix, slash, rest = full.partition("/")
    custom = entry.params.get("custom_llm_provider")
    if isinstance(custom, str) and custom and prefix != custom:
        prefix, slash, rest = custom, "/", full
    if "*" in full or "*" in entry.name:
        raise _UnusableDeployment("a wildcard is not an agent: name the models")
    if not slash:
        prefix, rest = "openai", full
    found = _VENDORS.get(prefix)
    if found == "":
        raise _UnusableDeployment(f"{prefix} uses its own protocol, for which agentsd has no client")
    if found == "openai.com" and base and base.rstrip("/") != _BASE_URLS[found]:
        return "openai-compatible", rest
    if found is None and not base:
        raise _UnusableDeployment(
            f"agentsd has no vendor {prefix}: give its OpenAI-compatible address as api_base"
        )
    return found or "openai-compatible", rest


def _read_parameter(entry: _Deployment, name: str, environ: Mapping[str, str], keys: dict[str, str]) -> str:
    """Return a parameter, or for ``os.environ/NAME`` the variable's value.

    Raises ``_UnusableDeployment`` where that variable is missing.
    """
    value = entry.params.get(name)
    if not isinstance(value, str) or not value.strip():
        return ""
    field = "api_key" if name == "api_key" else "api_url"
    if value.startswith(_ENVIRON_PREFIX):
        variable = value.removeprefix(_ENVIRON_PREFIX).strip()
        why = explain_placeholder(environ.get(variable)) if variable in environ else "it is not set"
        if why:
            raise _UnusableDeployment(f"omitted: {variable} is needed, and {why}", missing=variable)
        keys[variable] = field
        return environ[variable].strip()
    if name == "api_key" and explain_placeholder(value):
        raise _UnusableDeployment("omitted: its api_key contains a placeholder", missing=name)
    return value.strip()


def _check_section(section: dict[str, Any], catalog: Catalog) -> None:
    """Raise ``_UnusableDeployment`` for an invalid section, with field and rule, never a value."""
    problems = find_schema_errors(catalog.vendor("llm", section["provider"]).settings, section)
    if "api_key" in problems:
        raise _UnusableDeployment(f"omitted: {section['provider']} needs an api_key", missing="api_key")
    if problems:
        told = ", ".join(f"{name} ({rule.replace('_', ' ')})" for name, rule in problems.items())
        raise _UnusableDeployment(f"omitted: no value for llm: {told}")


def _make_slug(name: str, owner: str) -> str:
    slug = suggest_slug(name.replace("/", "-"))
    slug = f"model-{slug}" if find_slug_problem(slug) else slug
    return f"{owner}/{slug}" if owner else slug


def _make_drafts(
    groups: Mapping[str, list[dict[str, Any]]],
    owner: str,
    catalog: Catalog,
    trusted: frozenset[str],
    notes: list[ImportNote],
) -> Iterator[ManifestDraft]:
    taken: dict[str, str] = {}
    for name, sections in groups.items():
        slug = _make_slug(name, owner)
        if slug in taken:
            notes.append(ImportNote(name, "unused", f"{taken[slug]} is {slug} already: rename one of them"))
            continue
        taken[slug] = name
        first, *others = sections
        llm = {**first, FALLBACK: others} if others else first
        yield make_draft(slug, {"name": name}, {"llm": llm}, catalog, trusted)
