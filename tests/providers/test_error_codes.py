"""Why a vendor refused, in OpenAI's words and never in the vendor's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.providers import base
from agentsd.providers.error_codes import CODE_OF_WORD, read_error, unwrap_error
from agentsd.providers.errors import VendorRef, make_status_error

WHO = VendorRef("openai-compatible", "llm")
# ruff: noqa: E501  (bodies as vendors send them)
KEY = "sk-canary-7d1f0a9b3c5e"
TOOLS = "tools[0].function.parameters"

REFUSALS: list[tuple[int, Any, str, str | None]] = [
    # OpenAI
    (400, {"error": {"message": KEY, "code": "context_length_exceeded", "param": "messages"}},
     "context_length_exceeded", "messages"),
    (429, {"error": {"message": KEY, "type": "insufficient_quota", "code": "insufficient_quota"}},
     "insufficient_quota", None),
    (429, {"error": {"message": KEY, "type": "tokens", "code": "rate_limit_exceeded"}},
     "rate_limit_exceeded", None),
    (401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}},
     "invalid_api_key", None),
    (404, {"error": {"message": KEY, "code": "model_not_found"}}, "model_not_found", None),
    (400, {"error": {"message": "Invalid schema for function 'f'", "param": TOOLS,
                     "code": "invalid_function_parameters"}}, "invalid_function_parameters", TOOLS),
    # Azure
    (400, {"error": {"code": "content_filter", "message": KEY, "innererror": {
        "code": "ResponsibleAIPolicyViolation"}}}, "content_filter", None),
    (404, {"error": {"code": "DeploymentNotFound", "message": KEY}}, "model_not_found", None),
    # vLLM, older and newer
    (400, {"object": "error", "type": "BadRequestError", "code": 400, "param": None,
           "message": "This model's maximum context length is 4096 tokens. However, you requested 5000"},
     "context_length_exceeded", "messages"),
    (400, {"error": {"type": "BadRequestError", "code": 400,
                     "message": "This model's maximum context length is 10 tokens."}},
     "context_length_exceeded", "messages"),
    (404, {"object": "error", "type": "NotFoundError", "code": 404, "message": "The model `x` does not exist."},
     "model_not_found", None),
    # llama.cpp, newer and older
    (400, {"error": {"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096, "n_prompt_tokens": 5000,
                     "message": "the request exceeds the available context size"}},
     "context_length_exceeded", "messages"),
    (500, {"error": {"code": 500, "type": "server_error",
                     "message": "the request exceeds the available context size. try increasing it"}},
     "context_length_exceeded", "messages"),
    # OpenRouter
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "insufficient_quota", None),
    (403, {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": KEY}}},
     "content_filter", None),
    (400, {"error": {"code": 400, "message": "Provider returned error", "metadata": {
        "raw": '{"message":"prompt is too long: 300000 tokens"}'}}}, "context_length_exceeded", "messages"),
    # Mistral, DeepSeek, Google, Groq, FastAPI, Ollama
    (400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum "
           "context length", "type": "invalid_request_error", "code": "3051"},
     "context_length_exceeded", "messages"),
    (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, "insufficient_quota", None),
    (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT",
                      "message": "The input token count (9) exceeds the maximum number of tokens allowed (5)."}}],
     "context_length_exceeded", "messages"),
    (400, {"error": {"type": "invalid_request_error",
                     "message": "'tools.0.function.parameters' : value must be a valid JSON schema"}},
     "invalid_function_parameters", TOOLS),
    (422, {"detail": [{"loc": ["body", "tools", 0, "function", "parameters"], "msg": KEY}]}, "", TOOLS),
    (400, {"error": "input length exceeds maximum context length"}, "context_length_exceeded", "messages"),
    # without any word
    (401, {"error": {"message": KEY}}, "", None),
    (429, None, "", None),
    (402, None, "insufficient_quota", None),
    (400, {"error": {"message": KEY, "param": KEY}}, "", None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "code", "param"), REFUSALS)
def test_a_refusal_has_a_code_and_a_parameter(status: int, body: Any, code: str, param: str | None) -> None:
    """As each vendor writes it; in our own words."""
    error = make_status_error(WHO, status, {}, unwrap_error(body))
    assert (error.code or "", error.param) == (code, param)
    assert KEY not in f"{error} {error.param}"
    if code in ("context_length_exceeded", "content_filter"):
        assert isinstance(error, base.ProviderRejected)
        assert "check" not in error.hint
    if code == "insufficient_quota":
        assert not error.retryable


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.just(KEY) | st.sampled_from(sorted(CODE_OF_WORD)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "param", "detail", "loc", "metadata", "raw"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.none() | st.integers(300, 599))
def test_no_body_raises_or_gets_out(body: object, status: int | None) -> None:
    """Whatever it is: codes and paths are made of known words."""
    report = read_error(unwrap_error(body), status)
    assert KEY not in str(report)
    assert report.code is None or report.code in CODE_OF_WORD.values()
    assert orjson.dumps(report.param)
