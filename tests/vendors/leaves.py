"""Every answer that a vendor could send with a text where none belongs: generated, leaf by leaf."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

TOKEN = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": None}]}  # noqa: E501  # fmt: skip
BODY: dict[str, Any] = {
    "role": "assistant",
    "content": "Hi there.",
    "refusal": None,
    "reasoning": "Because.",
    "reasoning_content": "Because.",
    "tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"},
         "extra_content": {"google": {"thought_signature": "c2ln"}}},
        {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}},
    ],
    "function_call": {"name": "f", "arguments": "{}"},
    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.org", "title": "t", "start_index": 0, "end_index": 1}}],  # noqa: E501
    "images": [{"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,AAAA"}}],
    "reasoning_details": [{"type": "reasoning.text", "text": "t", "format": "unknown", "index": 0, "id": "r", "signature": "s"}],  # noqa: E501
    "audio": {"id": "audio_0123456789ab", "data": "AAAA", "transcript": "Hi", "expires_at": 1},
    "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
    "unknown": {"deep": [{"deeper": "x"}]},
}  # fmt: skip
HEAD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "created": 1_700_000_000,
    "model": "m",
    "provider": "someone",
    "system_fingerprint": "fp_0123456789",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1,
        "prompt_tokens_details": {"cached_tokens": 0, "x": "y"},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "queue_time": 0.1,
    },
    "x_groq": {"id": "req_1", "error": None},
    "timings": {"predicted_ms": 1.5},
    "prompt_filter_results": [{"prompt_index": 0}],
    "citations": ["https://example.org"],
}  # fmt: skip


def completion() -> dict[str, Any]:
    """A ``chat.completion`` with all that vendors put into one."""
    choice = {
        "index": 0, "message": copy.deepcopy(BODY), "finish_reason": "stop", "native_finish_reason": "end",
        "stop_reason": None, "logprobs": {"content": [TOKEN], "refusal": None}, "error": None,
        "matched_stop": 2,
    }  # fmt: skip
    return {**copy.deepcopy(HEAD), "object": "chat.completion", "choices": [copy.deepcopy(choice)]}


def chunk() -> dict[str, Any]:
    """The same as a ``chat.completion.chunk``."""
    value = completion()
    (choice,) = value["choices"]
    choice["delta"] = choice.pop("message")
    return {**value, "object": "chat.completion.chunk"}


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Every place of ``value``: leaves, lists and objects."""
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, item in items:
        yield (*above, key)
        yield from paths(item, (*above, key))


def mutated(value: Any, put: Any) -> Iterator[tuple[Path, Any]]:
    """``value`` with ``put`` in each place, and with the name of each member replaced by ``put``."""
    for path in paths(value):
        yield path, _with(value, path, put)
        if isinstance(path[-1], str) and isinstance(put, str):
            yield (*path, "(name)"), _with(value, path, put, name=True)


def _with(value: Any, path: Path, put: Any, *, name: bool = False) -> Any:
    whole = copy.deepcopy(value)
    place = whole
    for key in path[:-1]:
        place = place[key]
    if name:
        place[put] = place.pop(path[-1])
    else:
        place[path[-1]] = copy.deepcopy(put)
    return whole
