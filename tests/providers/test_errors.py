"""How a vendor's failures become ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentsd.core.errors import ProviderError
from agentsd.providers import base
from agentsd.providers.errors import (
    VendorRef,
    make_reported_error,
    make_status_error,
    parse_retry_after,
    translate_errors,
)

WHO = VendorRef("groq.com", "llm")


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (301, base.ProviderProtocolError, False),
        (400, base.ProviderRejected, False),
        (401, base.ProviderAuthError, False),
        (402, base.ProviderRejected, False),
        (403, base.ProviderAuthError, False),
        (404, base.ProviderNotFound, False),
        (408, base.ProviderTimeout, True),
        (422, base.ProviderRejected, False),
        (429, base.ProviderRateLimited, True),
        (500, base.ProviderUnavailable, True),
        (503, base.ProviderUnavailable, True),
        (529, base.ProviderUnavailable, True),
        (999, base.ProviderUnavailable, True),
    ],
)
def test_each_status_is_one_error(status: int, kind: type[ProviderError], retryable: bool) -> None:
    """The status decides the class, and the class whether trying again may help."""
    error = make_status_error(WHO, status)
    assert type(error) is kind
    assert error.retryable is retryable
    assert str(status) in error.message
    assert error.hint


def test_a_refusal_keeps_the_vendors_status() -> None:
    """Whoever shows the error can tell 402 from 422."""
    error = make_status_error(WHO, 402)
    assert isinstance(error, base.ProviderRejected)
    assert error.status == 402


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text())))
def test_only_plain_machine_words_are_quoted(code: object) -> None:
    """A code may hold the key or the prompt, so nothing but lower-case words is repeated."""
    message = make_status_error(WHO, 400, code=code).message
    plain = "groq.com answered 400: it refuses this request"
    assert message == plain or all(c.islower() or c in "_-() :40" or c in "groq.com" for c in message)
    for key in ("sk-abc123", "my_own_proxy_key"):
        assert key not in make_status_error(WHO, 400, code=key).message
    assert "(model_not_found)" in make_status_error(WHO, 404, code="model_not_found").message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "secret words"}, base.ProviderRateLimited),
        ({"code": "429"}, base.ProviderRateLimited),
        ({"code": "invalid_api_key"}, base.ProviderAuthError),
        ({"type": "rate_limit_exceeded", "code": None}, base.ProviderRateLimited),
        ({"code": "model_not_found"}, base.ProviderNotFound),
        ({"code": 502}, base.ProviderUnavailable),
        ({"code": 12}, base.ProviderUnavailable),
        ({"code": {"odd": 1}}, base.ProviderUnavailable),
        ("secret words", base.ProviderUnavailable),
        ([1], base.ProviderUnavailable),
    ],
)
def test_an_error_object_in_a_stream_is_typed(error: object, kind: type[ProviderError]) -> None:
    """A code that says which failure it is counts; the vendor's words never do."""
    found = make_reported_error(WHO, error)
    assert type(found) is kind
    assert "secret words" not in str(found)


def test_retry_after_reads_seconds_and_dates() -> None:
    """Both forms of RFC 9110, and the vendors' milliseconds; nonsense is None."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after({"Retry-After": "7"}) == 7.0
    assert parse_retry_after({"retry-after-ms": "1500", "Retry-After": "2"}) == 1.5
    assert 60 < (parse_retry_after({"Retry-After": later}) or 0) <= 90
    assert parse_retry_after({"Retry-After": "-5"}) == 0
    assert parse_retry_after({"Retry-After": "1e9"}) == 86_400
    assert parse_retry_after({"Retry-After": "soon"}) is None
    assert parse_retry_after({"Retry-After": "nan"}) is None
    assert parse_retry_after({}) is None


DATES = st.from_regex(
    r"([A-Z][a-z]{2}, )?-?[0-9]{1,12} [A-Z][a-z]{2} [0-9]{1,12} [0-9]{1,12}:[0-9]{1,12}(:[0-9]{1,5})?"
    r" ([A-Z]{1,4}|[+-][0-9]{1,24})",
    fullmatch=True,
)


@given(st.one_of(st.text(max_size=80), DATES, st.decimals().map(str), st.integers().map(str)))
@example("Mon, 01 Jan 99999 00:00:00 GMT")
@example("Mon, 01 Jan 99999999999 00:00:00 GMT")
@example("Mon, 01 Jan 2026 99999999999:00:00 GMT")
@example("Mon, 01 Jan 2026 00:00:00 +9999999999999999999999")
@example("9" * 5000)
def test_no_retry_after_raises(said: str) -> None:
    """Whatever a vendor writes there is a bounded number of seconds, or none."""
    for name in ("Retry-After", "retry-after-ms"):
        seconds = parse_retry_after({name: said})
        assert seconds is None or 0 <= seconds <= 86_400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(JSON, st.sampled_from(["code", "err_code", "status", "type"]))
@example("٣٣٣", "code")
def test_no_reported_error_raises(said: object, key: str) -> None:
    assert isinstance(make_reported_error(WHO, said), ProviderError)
    assert isinstance(make_reported_error(WHO, {key: said}), ProviderError)


@given(st.integers(min_value=300), JSON)
def test_no_status_raises(status: int, code: object) -> None:
    assert isinstance(make_status_error(WHO, status, {}, code), ProviderError)


def test_a_bug_of_ours_is_not_called_a_vendors_fault() -> None:
    """Only what a network can do wrong is translated."""
    with pytest.raises(KeyError), translate_errors(WHO):
        raise KeyError("bug")
