"""Base URLs as people write them."""

from __future__ import annotations

import pytest

from agentsd.providers.base_url import join_url

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://h", CHAT, "https://h/v1/chat/completions"),
        ("https://h/", CHAT, "https://h/v1/chat/completions"),
        ("https://h/v1", CHAT, "https://h/v1/chat/completions"),
        ("https://h/v1/", CHAT, "https://h/v1/chat/completions"),
        ("https://h/v1/chat", CHAT, "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions", CHAT, "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions/", CHAT, "https://h/v1/chat/completions"),
        ("https://h/openai/v1", "/openai/v1/chat/completions", "https://h/openai/v1/chat/completions"),
        ("https://h/api", "/api/v1/chat/completions", "https://h/api/v1/chat/completions"),
        ("https://h/api/v1", "/api/v1/chat/completions", "https://h/api/v1/chat/completions"),
        ("https://h/v1beta/openai", CHAT, "https://h/v1beta/openai/chat/completions"),
        ("https://h/api/paas/v4", CHAT, "https://h/api/paas/v4/chat/completions"),
        ("https://h/proxy", CHAT, "https://h/proxy/v1/chat/completions"),
        ("https://h/v1", "/audio/speech", "https://h/v1/audio/speech"),
        ("http://[::1]:80/v1", CHAT, "http://[::1]:80/v1/chat/completions"),
    ],
)
def test_a_base_may_contain_part_of_the_path(base: str, path: str, url: str) -> None:
    """With the version and without it, whole or with a slash: the same address."""
    assert join_url(base, path) == url
