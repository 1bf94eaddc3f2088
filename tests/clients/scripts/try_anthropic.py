"""Anthropic's client: another interface, which this server has not."""

from __future__ import annotations

import os

import anthropic
from verdicts import API_KEY, BASE_URL, MODEL, feature, run_features

os.environ.pop("ANTHROPIC_API_KEY", None)
ROOT = BASE_URL.removesuffix("/v1")


@feature("messages", refused="/v1/chat/completions")
def _() -> None:
    client = anthropic.Anthropic(base_url=ROOT, auth_token=API_KEY, max_retries=0)
    client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hello"}])


@feature("messages, streamed", refused="/v1/chat/completions")
def _() -> None:
    client = anthropic.Anthropic(base_url=ROOT, auth_token=API_KEY, max_retries=0)
    with client.messages.stream(
        model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hello"}]
    ) as stream:
        stream.get_final_message()


run_features()
