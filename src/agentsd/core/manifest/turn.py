"""Sections ``turn`` and ``on_error`` of a manifest: how a call takes turns, and what follows a failure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agentsd.core.manifest.strict_model import StrictModel

SAY_MAX = 500
"""Maximum characters of a sentence that the agent says by itself."""

LEAD_MS_MIN, LEAD_MS_MAX = 40, 60_000
"""Least and most sound, in ms, that may be sent ahead of its playing."""

BACKCHANNEL = ("mhm", "mm-hmm", "uh-huh", "hm", "hmm", "mm", "aha")
"""Sounds of a listener that are not a contribution in any language."""


class Interrupt(StrictModel):
    """When a caller who speaks over the agent interrupts it. The voice is held until that is certain."""

    enabled: Annotated[
        bool, Field(description="Whether the agent falls silent when the caller speaks.", examples=[True])
    ] = True
    min_ms: Annotated[
        int,
        Field(ge=0, le=5000, description="Speech that interrupts, in ms; less is only held.", examples=[300]),
    ] = 300
    min_words: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="Recognised words that interrupt, where the STT reports words as they are spoken.",
            examples=[1],
        ),
    ] = 1
    resume_false: Annotated[
        bool,
        Field(
            description="Whether the agent goes on, or repeats itself, if no words were said.",
            examples=[True],
        ),
    ] = True


_ENABLED, _DISABLED = Interrupt(), Interrupt(enabled=False)


class Idle(StrictModel):
    """Sentence that the agent says when nobody speaks."""

    after_seconds: Annotated[
        float,
        Field(ge=1, le=600, description="Silence of both, in seconds.", examples=[8]),
    ] = 8.0
    say: Annotated[
        str,
        Field(
            min_length=1, max_length=SAY_MAX, description="What is said.", examples=["Are you still there?"]
        ),
    ]
    times: Annotated[int, Field(ge=1, le=20, description="How often in a row.", examples=[2])] = 2
    then: Annotated[
        Literal["hang_up", "continue"],
        Field(description="What follows after the last time.", examples=["hang_up"]),
    ] = "hang_up"


class Timeouts(StrictModel):
    """Time-outs of an answer in a call, of each vendor that is asked for it."""

    first_token_seconds: Annotated[
        float, Field(gt=0, le=120, description="To the model's first words.", examples=[5])
    ] = 5.0
    first_sound_seconds: Annotated[
        float,
        Field(gt=0, le=120, description="From the first whole sentence to its sound.", examples=[3]),
    ] = 3.0


class Waits(StrictModel):
    """Silence that ends what the caller says, where a model hears whether it is finished."""

    sure: Annotated[
        int, Field(ge=50, le=10_000, description="After a finished thought, in ms.", examples=[200])
    ] = 200
    unsure: Annotated[
        int, Field(ge=50, le=10_000, description="After an unfinished one, in ms.", examples=[2500])
    ] = 2500


class Turn(StrictModel):
    """When a caller has finished speaking, and how the agent may be interrupted."""

    detection: Annotated[
        Literal["silence", "smart"],
        Field(
            description="What ends the caller's turn: `silence_ms`, or an end-of-turn model on this machine "
            "that chooses one of `wait_ms`.",
            examples=["smart"],
        ),
    ] = "silence"
    threshold: Annotated[
        float,
        Field(gt=0, lt=1, description="Probability above which a sound is speech.", examples=[0.5]),
    ] = 0.5
    prefix_padding_ms: Annotated[
        int,
        Field(ge=0, le=2000, description="Sound kept from before the speech began, in ms.", examples=[300]),
    ] = 300
    silence_ms: Annotated[
        int,
        Field(ge=50, le=10_000, description="Silence that ends what the caller says, in ms.", examples=[500]),
    ] = 500
    wait_ms: Annotated[
        Waits,
        Field(description="Waits of `detection: smart`; speech that begins within them joins the turn."),
    ] = Waits()
    eager: Annotated[
        Literal["auto", True, False],
        Field(
            description="Whether an answer begins at a likely end of speech, before it is certain, and is "
            "thrown away if the caller goes on. `auto`: where neither `llm` nor `tts` has a key, so that "
            "nobody charges for it.",
            examples=["auto"],
        ),
    ] = "auto"
    lead_ms: Annotated[
        int | None,
        Field(
            ge=LEAD_MS_MIN,
            le=LEAD_MS_MAX,
            description="Sound that is sent ahead of its playing, in ms, for clients that cannot drop what "
            "they have when they are interrupted; all of it at once where absent.",
            examples=[400],
        ),
    ] = None
    interrupt: Annotated[
        bool | Interrupt,
        Field(
            description="Whether the agent falls silent when the caller speaks; true means the defaults.",
            examples=[True],
        ),
    ] = True
    ignore: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=60)]],
        Field(
            max_length=100,
            description="Words that, said while the agent speaks, do not interrupt it.",
            examples=[["mhm", "okay", "right"]],
        ),
    ] = list(BACKCHANNEL)  # noqa: RUF012  (pydantic copies it)
    idle: Annotated[Idle | None, Field(description="Optional: what the agent does when nobody speaks.")] = (
        None
    )
    timeouts: Annotated[Timeouts, Field(description="How long an answer may take to begin.")] = Timeouts()
    max_seconds: Annotated[
        float,
        Field(gt=0, le=600, description="Longest single utterance of the caller, in seconds.", examples=[60]),
    ] = 60.0

    @property
    def interruption(self) -> Interrupt:
        """Return ``interrupt`` as a value: a bare boolean stands for the defaults."""
        if isinstance(self.interrupt, Interrupt):
            return self.interrupt
        return _ENABLED if self.interrupt else _DISABLED


class OnError(StrictModel):
    """Sentence that the caller hears when a vendor fails."""

    say: Annotated[
        str,
        Field(
            min_length=1,
            max_length=SAY_MAX,
            description="What is said.",
            examples=["Sorry, something went wrong. Could you say that again?"],
        ),
    ]
    then: Annotated[
        Literal["continue", "hang_up", "handoff"],
        Field(
            description="What follows; `handoff` goes on with the first agent of `handoff`.",
            examples=["continue"],
        ),
    ] = "continue"
