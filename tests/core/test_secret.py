"""A secret does not show itself."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsd.core.secret import MASK, Secret

CANARY = "sk-canary-77"


class Section(BaseModel):
    """A section with a secret."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    api_key: Annotated[Secret, Field(description="x")]
    other: Secret | None = None


@dataclass
class Holder:
    """Something that holds one."""

    key: Secret


SECRET = Secret(CANARY)
SECTION = Section.model_validate({"api_key": CANARY})


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        format(SECRET),
        format(SECRET, ">40"),
        f"{SECRET}",
        f"{SECRET!r}",
        f"{SECRET!s:>20}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031
        "{}".format(SECRET),  # noqa: UP032
        str([SECRET]),
        str({"key": SECRET}),
        repr(Holder(SECRET)),
        repr(SECTION),
        str(SECTION.model_dump()),
        SECTION.model_dump_json(),
        json.dumps({"key": SECRET}, default=str),
    ],
)
def test_no_way_of_writing_it_shows_it(shown: str) -> None:
    """Everything that turns a value into a text gives the mask."""
    assert CANARY not in shown
    assert MASK in shown


def test_logs_do_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither as an argument nor as an extra field."""
    logging.getLogger("agentsd.test").warning("key %s", SECRET, extra={"key": SECRET})
    assert CANARY not in caplog.text + str([vars(record) for record in caplog.records])


@pytest.mark.parametrize(
    "write", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, lambda s: asdict(Holder(s)), vars]
)
def test_what_would_carry_it_out_is_refused(write: Any) -> None:
    """Pickling, copying and plain JSON raise, without the value."""
    with pytest.raises(TypeError) as raised:
        write(SECRET)
    assert CANARY not in str(raised.value)


def test_an_error_of_its_section_can_be_told_without_it() -> None:
    """pydantic quotes input unless told otherwise; a refused secret is never quoted by our translation."""
    with pytest.raises(ValidationError) as raised:
        Section.model_validate({"api_key": CANARY, "unknown": 1})
    assert CANARY not in str(raised.value.errors(include_input=False, include_url=False))


def test_only_reveal_gives_it_away() -> None:
    """And equality tells a changed secret from an unchanged one."""
    assert SECRET.reveal() == CANARY
    assert SECTION.api_key.reveal() == CANARY
    assert Secret(CANARY) == SECRET
    assert Secret("x") != SECRET
    assert SECRET != CANARY
    assert len({SECRET, Secret(CANARY)}) == 1


@pytest.mark.parametrize("value", ["", 1, None, ["x"]])
def test_what_is_no_secret(value: object) -> None:
    """An empty text or another type is refused."""
    with pytest.raises(ValidationError):
        Section.model_validate({"api_key": value})


def test_its_schema_is_write_only() -> None:
    """Editors and interfaces are told to hide it."""
    assert Section.model_json_schema()["properties"]["api_key"]["writeOnly"] is True
