"""Layers: what several documents say together. Pure."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.agent import Attachment, Attachments, compute_digest
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.layers import LayeredDocument, find_borrowed_seals, is_from_one_layer, merge_layers
from agentsd.core.trust.rules import Destinations
from tests.core.values import sealed

KNOWN = Destinations(
    frozenset({"api_key"}), {"api_url": "https://home.test"}, frozenset({"https://home.test"})
)
KEY = sealed("a")


def destinations(kind: str, provider: str) -> Destinations | None:
    return KNOWN if provider in ("one", "two") else None


def doc(path: str, value: dict[str, Any]) -> Document:
    return parse_document(path, yaml.safe_dump(value, sort_keys=False).encode())


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """What the last of ``values`` says over the others."""
    *below, own = [doc(f"{number}.yaml", value) for number, value in enumerate(values)]
    return merge_layers(own, below, destinations).value


_SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.sampled_from(["x", "y", ""]))
_KEYS = st.sampled_from(["name", "turn", "greeting", "extra"])
_TREES = st.recursive(
    st.one_of(_SCALARS, st.lists(_SCALARS, max_size=2)),
    lambda child: st.dictionaries(_KEYS, child, max_size=3),
    max_leaves=6,
)
_VALUES = st.dictionaries(_KEYS, _TREES, min_size=1, max_size=3)


def plainly(below: Any, own: Any) -> Any:
    """A deep merge, as anybody would write it."""
    if not (isinstance(below, dict) and isinstance(own, dict)):
        return own
    return {**below, **{name: plainly(below.get(name), child) for name, child in own.items()}}


@given(st.lists(_VALUES, min_size=1, max_size=4))
def test_mappings_merge_and_the_rest_replaces(values: list[dict[str, Any]]) -> None:
    """Fields outside of providers: a plain deep merge, whatever their number."""
    expected: dict[str, Any] = {}
    for value in values:
        expected = plainly(expected, value)
    assert merged(*values) == expected


@given(st.lists(_VALUES, min_size=1, max_size=4))
def test_each_leaf_comes_from_the_highest_layer_that_says_it(values: list[dict[str, Any]]) -> None:
    """And the merge of other values of the layers takes them from the same places."""
    *below, own = [doc(f"{number}.yaml", value) for number, value in enumerate(values)]
    document = merge_layers(own, below, destinations)
    if not isinstance(document, LayeredDocument):
        assert document is own
        return
    named = [_named(one.value, one.path) for one in document.layers]
    for pointer, path in _leaves(document.taken(named)):
        assert document.layer_of(pointer).path == path


def _named(value: Any, name: str) -> Any:
    return {key: _named(child, name) for key, child in value.items()} if isinstance(value, dict) else name


def _leaves(value: Any, pointer: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict):
        return [(pointer, value)]
    return [leaf for key, child in value.items() for leaf in _leaves(child, (*pointer, key))]


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.sampled_from(["one", "two", "unheard-of"]),
        "api_key": st.sampled_from([sealed(letter) for letter in "abc"]),
        "api_url": st.sampled_from(["https://home.test", "https://evil.test", sealed("u")]),
        "model": st.sampled_from(["small", sealed("m")]),
        "fallback": st.just([{"provider": "two", "api_key": sealed("f")}]),
    },
)


@given(st.lists(_FIELDS, min_size=2, max_size=4))
def test_no_secret_meets_an_address_or_a_provider_from_above(sections: list[dict[str, Any]]) -> None:
    """Whatever the layers say: no secret is from below the layer that says where it goes."""
    *below, own = [doc(f"{number}.yaml", {"llm": section}) for number, section in enumerate(sections)]
    document = merge_layers(own, below, destinations)
    assert isinstance(document, LayeredDocument)
    section = document.value["llm"]
    place = {one.path: index for index, one in enumerate(document.layers)}
    at = {name: place[document.layer_of(("llm", name)).path] for name in section}
    chosen = max((at[name] for name in ("provider", "api_url") if name in section), default=0)
    for name, value in section.items():
        if name == "api_key" or (name != "api_url" and "ENC[" in str(value)):
            assert at[name] >= chosen


def test_another_provider_starts_its_section_anew() -> None:
    """A model's name means nothing to another vendor."""
    below = {"llm": {"provider": "one", "api_key": KEY, "model": "m"}, "tts": {"provider": "one", "speed": 2}}
    assert merged(below, {"llm": {"provider": "two"}}) == {
        "tts": {"provider": "one", "speed": 2},
        "llm": {"provider": "two"},
    }


def test_a_list_belongs_to_one_layer() -> None:
    """So no entry of ``fallback`` mixes one layer's secret with another's address."""
    chain = [{"provider": "two", "api_key": KEY}]
    below = {"llm": {"provider": "one", "model": "m", "fallback": chain}}
    own = [{"provider": "two", "api_url": "https://evil.test"}]
    assert merged(below, {"llm": {"fallback": own}})["llm"]["fallback"] == own
    assert merged(below, {"llm": {"model": "n"}})["llm"]["fallback"] == chain
    assert "fallback" not in merged(below, {"llm": {"api_url": "https://evil.test"}})["llm"]


def test_a_prompt_replaces_a_prompt() -> None:
    """However either of them is said."""
    assert merged({"system_prompt": "x"}, {"system_prompt_file": "p.md"}) == {"system_prompt_file": "p.md"}
    assert merged({"system_prompt_file": "p.md"}, {"system_prompt": "x"}) == {"system_prompt": "x"}


def test_errors_name_the_file_that_says_it() -> None:
    """With its line; what nobody says is looked for in the highest layer that speaks of its section."""
    below = parse_document("_defaults.yaml", b"llm:\n  provider: one\n  model: m\n")
    own = parse_document("a.yaml", b"name: A\nllm:\n  temperature: 2\n")
    document = merge_layers(own, [below], destinations)
    wheres = {
        name: document.violation(pointer, "x", "y").where
        for name, pointer in {
            "below": ("llm", "model"),
            "own": ("llm", "temperature"),
            "nobody": ("llm", "api_key"),
            "root": ("nothing",),
        }.items()
    }
    assert wheres == {
        "below": "_defaults.yaml:3:10",
        "own": "a.yaml:3:16",
        "nobody": "a.yaml:3:3",
        "root": "a.yaml:1:1",
    }


def test_overlays_lie_above_the_manifest() -> None:
    """The order: defaults, the manifest, the overlay's defaults, the overlay's file."""
    paths = ["_defaults.yaml", "../envs/prod/_defaults.yaml", "../envs/prod/a.yaml"]
    layers = [doc(path, {"greeting": path, "description": path}) for path in paths]
    own = doc("a.yaml", {"greeting": "a.yaml", "language": "en"})
    document = merge_layers(own, layers, destinations)
    assert isinstance(document, LayeredDocument)
    assert [one.path for one in document.layers] == [paths[0], "a.yaml", *paths[1:]]
    assert document.value["greeting"] == paths[-1]
    new = merge_layers(doc("../envs/prod/b.yaml", {"language": "en"}), layers[:2], destinations)
    assert isinstance(new, LayeredDocument)
    assert new.layers[-1].path == "../envs/prod/b.yaml"


def test_a_sealed_value_is_borrowed_from_another_owners_layer() -> None:
    """The top belongs to ``default``; an owner's folder to the owner."""
    top, ours = doc("_defaults.yaml", {"greeting": KEY}), doc("acme/_defaults.yaml", {"description": KEY})
    document = merge_layers(doc("acme/a.yaml", {"name": "A"}), [top, ours], destinations)
    assert list(find_borrowed_seals(document, "acme")) == [("greeting",)]
    assert (
        list(
            find_borrowed_seals(
                merge_layers(doc("a.yaml", {} | {"name": "A"}), [top], destinations), "default"
            )
        )
        == []
    )


def test_one_seal_vouches_for_what_one_layer_says() -> None:
    """An address of one layer and a key of another are tied together by nobody."""
    below = doc("_defaults.yaml", {"llm": {"provider": "one", "api_url": sealed("u"), "model": "m"}})
    document = merge_layers(doc("a.yaml", {"llm": {"api_key": KEY}}), [below], destinations)
    assert not is_from_one_layer(document, ("llm",), ("api_key", "api_url"))
    assert is_from_one_layer(document, ("llm",), ("api_url", "model"))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=5, unique=True))
def test_a_digest_tells_layers_apart(digests: list[bytes]) -> None:
    """Their order and places, and what is a layer and what attached; without any, it is the file's own."""
    own, *rest = digests
    layers = tuple(Attachment(f"{number}.yaml", digest) for number, digest in enumerate(rest))
    assert compute_digest(own, Attachments()) == own
    moved = (Attachment("elsewhere.yaml", rest[0]), *layers[1:])
    made = {
        compute_digest(own, Attachments(layers=layers)),
        compute_digest(own, Attachments(layers=moved)),
        compute_digest(own, Attachments(sources=layers)),
        compute_digest(own, Attachments(layers=layers[1:])),
        compute_digest(own, Attachments(layers=layers[:1], sources=layers[1:])),
    }
    assert len(made) == (5 if len(layers) > 1 else 4)
