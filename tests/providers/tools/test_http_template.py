"""Requests of HTTP tools: where arguments go, and where they cannot."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.tools import HttpRequest
from agentsd.providers.tools.http_template import ArgumentRefused, RequestTemplate


def fill(arguments: dict[str, Any], variables: dict[str, Any] | None = None, **http: Any) -> Any:
    """The request of a template."""
    return RequestTemplate(HttpRequest.model_validate(http)).fill(arguments, variables or {})


URL = "https://erp.example.com/orders/{x}/lines"


def test_arguments_go_where_the_manifest_has_them() -> None:
    """Path, query, header and body; the rest to the query of a GET, else to the body."""
    call = fill(
        {"x": "a b", "q": "ü&=", "h": "é", "more": [1, True, None], "gone": None, "deep": {"k": 1}},
        url="https://erp.example.com/orders/{x}?lang=de&q={q}",
        query={"fix": "1+1", "both": "{q}-{x}"},
        headers={"X-Tag": "<{h}>"},
    )
    assert call.url == (
        "https://erp.example.com/orders/a%20b?lang=de&q=%C3%BC%26%3D&fix=1%2B1&both=%C3%BC%26%3D-a%20b"
        "&more=1&more=true&deep=%7B%22k%22:1%7D"
    )
    assert (call.headers, call.body) == ({"X-Tag": "<%C3%A9>"}, None)
    posted = fill(
        {"x": 7, "name": "A", "tags": ["a"], "note": "hi"},
        {"customer": "acme"},
        method="POST",
        url=URL,
        body={
            "who": {"name": "{name}", "of": "{{customer}}"},
            "tags": "{tags}",
            "text": "{note} {tags}",
            "n": 1,
        },
    )
    assert posted.url == "https://erp.example.com/orders/7/lines"
    assert orjson.loads(posted.body) == {
        "who": {"name": "A", "of": "acme"}, "tags": ["a"], "text": 'hi ["a"]', "n": 1,
    }  # fmt: skip
    assert orjson.loads(fill({"x": "1", "y": 2}, method="PUT", url=URL).body) == {"y": 2}
    assert fill({"x": "1"}, method="POST", url=URL).body is None
    assert fill({"y": "1"}, method="DELETE", url="https://a.b").url == "https://a.b/?y=1"


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "../../admin", "a/b", "a%2fb", "a%2Fb", "%2e%2e", "%252e%252e%252f", "..%5c", "a\\b",
     "a%255cb", "..;", ".;x", ";x", "..%3bx", "%2e%2e%253b",
     "a\r\nX: y", "a\0b", "a%0d%0ab", "a\x7fb", "a\x85b", "\ud800"],
)  # fmt: skip
def test_nothing_leaves_its_segment_of_the_path(value: str) -> None:
    """Whatever a careless server decodes, and how often."""
    with pytest.raises((ArgumentRefused, UnicodeError)):
        fill({"x": value}, url=URL)


def test_an_argument_adds_no_parameter_to_its_segment() -> None:
    """Java's servers cut off what follows a ``;``, and read what is before it."""
    assert fill({"x": "1;role=admin"}, url=URL).url == "https://erp.example.com/orders/1%3Brole=admin/lines"
    assert fill({"x": "1"}, url="https://a.b/{x};v=2").url == "https://a.b/1;v=2"


def test_a_host_in_an_argument_is_a_name_in_the_path() -> None:
    """It cannot become user-info."""
    assert fill({"x": "@evil.example"}, url=URL).url == "https://erp.example.com/orders/%40evil.example/lines"
    assert fill({"x": ":8080"}, url="https://a.b/{x}").url.startswith("https://a.b/")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\x1bb"])
def test_no_control_character_in_query_and_header(value: str) -> None:
    """A body may contain them: JSON escapes them."""
    for http in ({"query": {"q": "{v}"}}, {"headers": {"X-A": "{v}"}}, {}):
        with pytest.raises(ArgumentRefused):
            fill({"v": value}, url="https://a.b/", **http)
    assert orjson.loads(fill({"v": value}, method="POST", url="https://a.b/").body) == {"v": value}


def test_a_missing_variable_sends_nothing() -> None:
    """Nor does a value become a template."""
    with pytest.raises(ArgumentRefused, match="customer"):
        fill({}, url="https://a.b/{{customer}}")
    assert fill({"x": "{y}", "y": "z"}, url="https://a.b/{x}").url == "https://a.b/%7By%7D?y=z"


@given(st.text(), st.text())
def test_a_request_never_leaves_its_origin_and_path(segment: str, value: str) -> None:
    """Any text: refused, or one segment and one value."""
    try:
        call = fill({"x": segment, "q": value}, url=URL, query={"q": "{q}"})
    except (ArgumentRefused, UnicodeError):
        return
    base, _, query = call.url.partition("?")
    assert base.startswith("https://erp.example.com/orders/")
    assert base.count("/") == 5
    assert base.endswith("/lines")
    assert query.count("&") == query.count("#") == 0
    assert call.url.isascii()
    assert call.url.isprintable()
    assert " " not in call.url
