"""LiteLLM's model list as agents: whatever it holds, what comes out is valid, and what does not is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.control.importers.litellm import MigratedConfig, migrate_config, read_config
from agentsd.core.errors import ConfigError
from agentsd.core.names import find_slug_problem
from agentsd.providers.catalog import default_catalog

CATALOG = default_catalog()
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MODELS = st.sampled_from(
    ["gpt-4o", "groq/llama", "openai/x", "ollama/l", "vllm/q", "anthropic/c", "/", "openai/", "a/b/c"]
)
PARAMS = st.fixed_dictionaries(
    {"model": MODELS | JSON},
    optional={
        "api_key": st.sampled_from(["sk-1", "os.environ/SET", "os.environ/UNSET", "os.environ/", ""]) | JSON,
        "api_base": st.sampled_from(
            ["http://h:1/v1", "no url", "https://api.openai.com/v1", "os.environ/SET"]
        )
        | JSON,
        "temperature": JSON,
        "custom_llm_provider": MODELS | JSON,
        "rpm": JSON,
    },
)
ENTRY = st.fixed_dictionaries({"model_name": st.text(max_size=6) | JSON, "litellm_params": PARAMS | JSON})


def migrated(models: list[Any], **environ: str) -> MigratedConfig:
    """What a list makes."""
    config = {"model_list": models, "general_settings": {}}
    return migrate_config(config, environ, CATALOG, owner="", trusted=frozenset())


@settings(max_examples=50)
@given(st.lists(ENTRY | JSON, max_size=4))
def test_whatever_it_holds(models: list[Any]) -> None:
    """Slugs are slugs, each once; sections are their vendors'; every entry has a note."""
    found = migrated(models, SET="https://set.example/v1")
    slugs = [draft.slug for draft in found.drafts]
    assert len(slugs) == len(set(slugs))
    assert not [slug for slug in slugs if find_slug_problem(slug)]
    for draft in found.drafts:
        CATALOG.settings_of("llm", draft.value["llm"])
    told = " ".join(note.name for note in found.notes)
    assert all(f"model_list[{index}]" in told for index in range(len(models)))


@pytest.mark.parametrize(
    ("params", "section"),
    [
        ({"model": "gpt-4o", "api_key": "sk-1"}, {"provider": "openai.com", "model": "gpt-4o"}),
        (
            {"model": "groq/x", "api_key": "sk-1", "api_base": "https://api.groq.com/openai/v1/"},
            {"provider": "groq.com", "model": "x"},
        ),
        (
            {"model": "openrouter/meta/x", "api_key": "sk-1", "timeout": 9},
            {"provider": "openrouter.ai", "model": "meta/x", "timeout_seconds": 9},
        ),
        (
            {"model": "x", "custom_llm_provider": "mistral", "api_key": "sk-1"},
            {"provider": "mistral.ai", "model": "x"},
        ),
        (
            {"model": "openai/q", "api_base": "os.environ/BASE"},
            {
                "provider": "openai-compatible",
                "model": "q",
                "api_url": "http://vllm:8000/v1",
                "completions_path": "/chat/completions",
            },
        ),
    ],
)
def test_where_a_model_goes(params: dict[str, Any], section: dict[str, Any]) -> None:
    """Prefixes and addresses as LiteLLM reads them; the vendor's own address need not be said."""
    found = migrated([{"model_name": "a", "litellm_params": params}], BASE="http://vllm:8000/v1")
    (draft,) = found.drafts
    said = {name: value for name, value in draft.value["llm"].items() if name != "api_key"}
    assert said == section
    assert draft.has_secrets is ("api_key" in params)


def test_two_names_that_would_be_one_slug() -> None:
    """The first keeps it, the second is told."""
    models = [
        {"model_name": name, "litellm_params": {"model": "x", "api_key": "k-1"}} for name in ("a b", "a-b")
    ]
    found = migrated(models)
    assert [draft.slug for draft in found.drafts] == ["a-b"]
    assert ("a-b", "unused") in {(note.name, note.outcome) for note in found.notes}


@pytest.mark.parametrize(
    "data", [b"x" * (1 << 20 | 1), b"model_list: {}", b"&a [*a]", b"\xff", b"a: !!python/x 1"]
)
def test_what_is_no_configuration(data: bytes) -> None:
    """An error that quotes nothing."""
    with pytest.raises(ConfigError):
        read_config("config.yaml", data)
