"""Tool that is an HTTP request: sent to its own origin, bounded in size and time, with a typed result.

A request is never sent twice, except a GET whose connection failed. Whatever the service does is a result
that the model can read; its key is masked in what it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from agentsd.core.manifest.tool_schema import ArgumentSchema
from agentsd.core.manifest.tools import HttpTool
from agentsd.core.trust.rules import normalise_origin
from agentsd.providers.base import ProviderForbidden, ProviderRejected
from agentsd.providers.outbound import OutboundRefused
from agentsd.providers.tool import Tool, ToolDefinition, ToolOutcome, ToolResult
from agentsd.providers.tools.auth_header import make_auth_header
from agentsd.providers.tools.http_template import ArgumentRefused, HttpCall, RequestTemplate
from agentsd.providers.transport.sessions import HttpSessions

if TYPE_CHECKING:
    import aiohttp

RESULT_BYTES_MAX = 64 << 10
"""Bytes of a result: it becomes a part of the conversation, and is paid for at every further turn."""
REDIRECTS_MAX = 3
"""Redirects of one GET, all within its origin."""
CONNECT_TIMEOUT_SECONDS = 5.0
RETRY_STATUS = frozenset({502, 503, 504})
"""Answers after which a GET is sent once more."""
REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
EMPTY_STATUS = frozenset({204, 205})
ERROR_CHARACTERS_MAX = 2000
"""Characters of a refusal that the model reads."""
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "latin-1", "windows-1252", "utf-16"})
_TEXT_TYPES = ("application/json", "application/xml", "application/yaml", "application/x-www-form-urlencoded")


class _Failure(Exception):
    """End of a call without a usable answer. Its text is our own."""

    def __init__(self, outcome: ToolOutcome, text: str, *, again: bool = False) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.text = text
        self.again = again  # a GET may be sent once more


class HttpToolSource:
    """Entry with ``http``, which is its own source. Raises ``ProviderError`` for a forbidden address."""

    def __init__(self, settings: HttpTool, sessions: HttpSessions) -> None:
        self._template = RequestTemplate(settings.http)
        self.definition = ToolDefinition(
            settings.name,
            settings.description,
            ArgumentSchema(settings.parameters_schema),
            "http",
            settings.say,
            settings.say_after_ms,
            settings.on_interrupt,
            settings.confirm,
            settings.timeout_seconds,
            read_only=settings.http.method == "GET",
            target=sha256(settings.http.model_dump_json().encode()).hexdigest(),
            variables=self._template.variables,
        )
        self._sample = _find_sample(settings)
        self.available = True
        self._origin = normalise_origin(self._template.origin)
        self._auth, self._redactor = make_auth_header(
            settings.auth_token, f"the tool {settings.name}", settings.http.auth_header
        )
        try:
            self._claim = sessions.acquire(self._template.origin)
        except ValueError:
            raise ProviderRejected(f"the URL of the tool {settings.name} cannot be used") from None
        except OutboundRefused as error:
            hint = "AGENTSD_OUTBOUND lists what this server may connect to"
            raise ProviderForbidden(f"the tool {settings.name}: {error}", hint=hint) from None

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Return the one tool."""
        return (self,)

    async def run(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
        """Send the request and return its answer. Never raises for the service."""
        began = perf_counter()
        try:
            call = self._template.fill(arguments, variables)
        except (ArgumentRefused, TypeError, UnicodeError) as error:
            said = str(error) if isinstance(error, ArgumentRefused) else "an argument cannot be sent"
            return self._end("invalid_arguments", said, began)
        try:
            async with asyncio.timeout(self.definition.timeout_seconds):
                text = await self._send(call)
        except TimeoutError:
            limit = self.definition.timeout_seconds
            return self._end("timeout", f"the service did not answer within {limit:g} s", began)
        except _Failure as failure:
            return self._end(failure.outcome, failure.text, began)
        return self._end("ok", text, began)

    async def probe(self) -> ToolResult | None:
        """Send a GET with the examples and defaults of its parameters; None for what has none."""
        return None if self._sample is None else await self.run(self._sample, {})

    async def aclose(self) -> None:
        """Give the claim on the origin's session up."""
        await self._claim.release()

    def _end(self, outcome: ToolOutcome, text: str, began: float) -> ToolResult:
        return ToolResult(outcome, self._redactor.redact(text), (perf_counter() - began) * 1000)

    async def _send(self, call: HttpCall) -> str:
        """Return the answer's text. Raises ``_Failure``."""
        try:
            return await self._follow(call)
        except _Failure as failure:
            if not failure.again or call.method != "GET":
                raise
        return await self._follow(call)

    async def _follow(self, call: HttpCall) -> str:
        url = call.url
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._request(call, url)
            try:
                if response.status not in REDIRECT_STATUS:
                    return await _read_answer(response)
                url = self._find_next(call, url, response.headers.get("Location", ""))
            finally:
                _leave(response)
        raise _Failure("redirected", "the service redirects without end")

    def _find_next(self, call: HttpCall, url: str, location: str) -> str:
        """Return where a redirect leads. Raises ``_Failure`` unless it is a GET within the origin."""
        try:
            target = urljoin(url, location)
        except ValueError:
            target = ""
        if call.method != "GET" or not location or normalise_origin(target) != self._origin:
            raise _Failure("redirected", "the service redirects to another place, which is not followed")
        if "@" in target.split("/", 3)[2]:
            raise _Failure("redirected", "the service redirects to another place, which is not followed")
        return target

    async def _request(self, call: HttpCall, url: str) -> aiohttp.ClientResponse:
        import aiohttp
        from yarl import URL

        headers = {"Accept": "application/json, text/*;q=0.9", **call.headers, **self._auth}
        headers["Accept-Encoding"] = "identity"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return await self._claim.session.request(
                call.method,
                URL(url, encoded=True),
                data=call.body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
                allow_redirects=False,
                middlewares=(),
            )
        except Exception as error:
            raise _explain_failure(error) from None


def _find_sample(settings: HttpTool) -> dict[str, Any] | None:
    """Return arguments for a probe; None for a tool that may change something, or has no examples."""
    sample: dict[str, Any] = {}
    for name, schema in settings.parameters.items():
        if not isinstance(schema, Mapping):
            return None
        examples = schema.get("examples")
        if "default" in schema:
            sample[name] = schema["default"]
        elif isinstance(examples, list) and examples:
            sample[name] = examples[0]
        else:
            return None
    return sample if settings.http.method == "GET" else None


def _explain_failure(error: Exception) -> _Failure:
    """Return the end of a call whose connection failed, in our own words."""
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutboundRefused):
            return _Failure("refused", "this server may not connect to that address")
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, TimeoutError):
        return _Failure("unreachable", "the service cannot be reached", again=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _Failure("unreachable", "the service cannot be reached", again=True)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return _Failure("failed", "the service closed the connection", again=True)
    return _Failure("failed", "the service did not answer in its protocol")


async def _read_answer(response: aiohttp.ClientResponse) -> str:
    """Return the text of an answer. Raises ``_Failure`` for a refusal, and for what cannot be read."""
    status = response.status
    if status in RETRY_STATUS:
        raise _Failure("failed", f"the service answered with status {status}", again=True)
    if response.content_length == 0 or status in EMPTY_STATUS:
        text = ""
    elif not _is_text(response):
        raise _Failure("unreadable", "the service answered with something that is not text")
    else:
        text = _decode(await _read_bounded(response), response.charset)
    if status >= 300:
        raise _Failure("failed", f"the service answered with status {status}: {text[:ERROR_CHARACTERS_MAX]}")
    return text


def _is_text(response: aiohttp.ClientResponse) -> bool:
    """Return whether an answer claims to be text; one that claims nothing is tried."""
    if "Content-Type" not in response.headers:
        return True
    kind = response.content_type.lower()
    return kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml"))


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    too_large = _Failure("too_large", f"the answer is longer than {RESULT_BYTES_MAX} bytes: ask for less")
    if (response.content_length or 0) > RESULT_BYTES_MAX:
        raise too_large
    data = b""
    try:
        while more := await response.content.readany():
            data += more
            if len(data) > RESULT_BYTES_MAX:
                raise too_large
    except _Failure:
        raise
    except Exception as error:
        raise _explain_failure(error) from None
    return data


def _decode(data: bytes, charset: str | None) -> str:
    try:
        text = data.decode(charset if charset and charset.lower() in _CHARSETS else "utf-8")
    except UnicodeDecodeError:
        raise _Failure("unreadable", "the service answered with something that is not text") from None
    if "\0" in text:
        raise _Failure("unreadable", "the service answered with something that is not text")
    return text


def _leave(response: aiohttp.ClientResponse) -> None:
    """Give the connection back after a whole answer; close it after a part of one."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()
