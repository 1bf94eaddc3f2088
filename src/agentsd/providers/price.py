"""The manifest's ``price:`` of a section, in USD: for vendors that the price library does not know."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from agentsd.core.ledger.price import UnitPrices
from agentsd.core.manifest.agent import PLAIN_FIELD
from agentsd.core.manifest.strict_model import StrictModel

Amount = Annotated[float, Field(ge=0, le=1_000_000)]


class Price(StrictModel):
    """Base of the prices of a section."""

    def unit_prices(self) -> UnitPrices:
        """Return the prices as exact numbers."""
        return UnitPrices(**{name: Decimal(str(value)) for name, value in self if value is not None})


class TokenPrice(Price):
    """Price of tokens."""

    input: Annotated[
        Amount,
        Field(
            description="USD per million tokens that are read.", examples=[0.1], json_schema_extra=PLAIN_FIELD
        ),
    ]
    output: Annotated[
        Amount,
        Field(
            description="USD per million tokens that are written.",
            examples=[0.5],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = 0.0
    cached: Annotated[
        Amount | None,
        Field(
            description="USD per million tokens read from the vendor's cache; `input` where absent.",
            examples=[0.02],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None


class SpeechPrice(Price):
    """Price of speech."""

    characters: Annotated[
        Amount,
        Field(
            description="USD per million characters that are spoken.",
            examples=[30],
            json_schema_extra=PLAIN_FIELD,
        ),
    ]


class TranscriptionPrice(Price):
    """Price of transcription."""

    minutes: Annotated[
        Amount,
        Field(description="USD per minute of sound.", examples=[0.0043], json_schema_extra=PLAIN_FIELD),
    ]


TokenPriceField = Annotated[
    TokenPrice | None,
    Field(
        description="Price in USD, where the price library has none or another one.",
        examples=[{"input": 0.1, "output": 0.5}],
    ),
]
SpeechPriceField = Annotated[
    SpeechPrice | None,
    Field(description="Price in USD; without it speech has no cost.", examples=[{"characters": 30}]),
]
TranscriptionPriceField = Annotated[
    TranscriptionPrice | None,
    Field(description="Price in USD; without it transcription has no cost.", examples=[{"minutes": 0.0043}]),
]
