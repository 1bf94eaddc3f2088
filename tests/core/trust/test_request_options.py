"""What a section may add to a vendor's requests."""

from __future__ import annotations

import pytest

from agentsd.core.trust.request_options import find_option_problems


@pytest.mark.parametrize(
    ("field", "key"),
    [
        *(("headers", key) for key in ("Authorization", "cookie", "x-api-key", "api-key", "X-Auth-Token")),
        *(("headers", key) for key in ("Proxy-Authorization", "X-Secret", "Ocp-Apim-Subscription-Key")),
        *(
            ("headers", key)
            for key in ("Host", "Content-Length", "Transfer-Encoding", "proxy-connection", "a b")
        ),
        *(("query", key) for key in ("key", "api_key", "access_token", "token", "signature")),
        *(("extra_body", key) for key in ("model", "messages", "stream", "tools", "api_key", "password")),
    ],
)
def test_credentials_and_what_is_set_here_are_refused(field: str, key: str) -> None:
    """A key in one of these would be in plain text, and bound to no origin."""
    ((where, name, problem, hint),) = find_option_problems({field: {key: "x"}})
    assert (where, name) == (field, key)
    assert problem
    assert hint


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "\x00", "ä"])
def test_a_header_that_would_break_out_is_refused(value: str) -> None:
    """No header can be smuggled in by another's value."""
    assert list(find_option_problems({"headers": {"X-Team": value}}))


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("headers", "X-Team"),
        ("headers", "OpenAI-Organization"),
        ("headers", "anthropic-beta"),
        ("query", "api-version"),
        ("extra_body", "max_tokens"),
        ("extra_body", "prompt_cache_key_prefix"),
        ("extra_body", "stop_token_ids"),
        ("extra_body", "chat_template_kwargs"),
    ],
)
def test_ordinary_additions_are_taken(field: str, key: str) -> None:
    """Words that merely look like a credential's are no reason to refuse."""
    assert not list(find_option_problems({field: {key: "x"}}))
