"""llama.cpp's own server; its key is optional.

https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class LlamaCppSettings(CompletionsSettings):
    """Settings of ``llama-cpp.local``."""

    home: ClassVar[frozenset[str]] = frozenset({"http://llama-cpp-server:8002"})

    provider: Literal["llama-cpp.local"]
    model: Annotated[
        str,
        Field(
            min_length=1,
            description="The model's name, as the vendor writes it.",
            examples=["smollm2-135m-instruct"],
        ),
    ]
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["http://llama-cpp-server:8002"])
    ] = "http://llama-cpp-server:8002"
    completions_path: Annotated[
        UrlPath,
        Field(description="Path of the chat completions under `api_url`.", examples=["/v1/chat/completions"]),
    ] = "/v1/chat/completions"


VENDOR = Vendor(LlamaCppSettings, build_client)
