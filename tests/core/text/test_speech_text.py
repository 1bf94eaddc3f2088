"""What a voice says of what a model wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.sentences import find_cut, find_last_start, find_sentence_end
from agentsd.core.text.speech_text import SpeechText
from agentsd.core.text.spoken_words import count_words, is_echo, is_ignored


def said(*deltas: str) -> str:
    """Everything that is spoken of these deltas."""
    speech = SpeechText()
    return " ".join("".join([*(speech.take(delta) for delta in deltas), speech.rest()]).split())


@pytest.mark.parametrize(
    "written",
    [
        "2 + 2 = 4", "10 - 3", "9 am - 5 pm", "Press * to repeat", "x > 5", "x < 5 and y > 3", "5*3=15",
        "Press *67# now", "C# and #1 is #hash", "It costs $5 and $10.", "if $HOME is set, go on", "~5 km",
        "R & B costs 5 €", "a / b", "A — B", "50 % off", "2**3", "1. First", "mail me @ home",
    ],
)  # fmt: skip
def test_signs_in_a_sentence_are_content(written: str) -> None:
    """They are spoken as they stand."""
    assert said(written) == written


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Great! 😀👍🏽 Done 1️⃣.", "Great! Done 1."),
        ("5 ★ hotel ✓", "5 hotel"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |\nEnd.", "a b 1 2 End."),
        ("a | b\n---|---\n1 | 2", "a b 1 2"),
        ("- [ ] milk\n- [x] bread", "milk bread"),
        ("one<br>two<br/>three", "one two three"),
        ('a <b>bold</b> <a href="x y">link</a>', "a bold link"),
        ("The \\(x^2 + y^2\\) rule, $a^2$ and $$\\frac{1}{2}$$ end.", "The rule, and end."),
        ("\\[ E = mc^2 \\]\nEnd", "End"),
        ("Use ```ls``` now.", "Use now."),
        ("```ls -la``` runs. ok", "runs. ok"),
        ("Run: ```sh\nrm x\n```\nDone.", "Run: Done."),
        ("~~~py\nx=1\n~~~\nDone", "Done"),
        ("A price of 3 ```", "A price of 3"),
        ("---\nok\n***\nyes", "ok yes"),
        ("> quote\n# Title\n* one\n+ two", "quote Title one two"),
        ("**Bold text** here, *it is*.", "Bold text here, it is."),
        ("~~gone~~ (*really*) \"**yes**\"", 'gone (really) "yes"'),
        ("这是**重要**的。第二句！好", "这是重要的。第二句！好"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ('[link text](http://a.b/c "my title") after', "link text after"),
        ("![a picture](x.png) shows", "a picture shows"),
    ],
)  # fmt: skip
def test_marks_are_not_read(written: str, spoken: str) -> None:
    """Marks of Markdown at their places, emoji, rules, tags, formulas and code."""
    assert said(written) == spoken
    assert said(*written) == spoken


@given(st.lists(st.text(alphabet="ab*_`~$<>|\\([])#- \n你。", max_size=8), max_size=12))
def test_where_deltas_are_cut_makes_no_difference(deltas: list[str]) -> None:
    """Words are cleaned whole."""
    assert said(*deltas) == said("".join(deltas))


@given(
    st.lists(st.sampled_from(["word ", "```", "~~~", "\n", "$", "\\(", "<b ", "`", "**", "| "]), max_size=20)
)
def test_an_open_mark_does_not_mute_the_next_line(parts: list[str]) -> None:
    """Unless it is a fence that began a line: formulas, tags and code in a line end with it."""
    fenced = any(line.lstrip("*| ").startswith(("```", "~~~")) for line in "".join(parts).split("\n"))
    hidden = fenced or "```\n" in "".join(parts) or "~~~" in parts or "".join(parts).count("```")
    assert hidden or said(*parts, "\nlast words").endswith("last words")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("It is nine. Then", "It is nine. "),
        ("你好。再见", "你好。"),
        ("こんにちは！元気", "こんにちは！"),
        ("สวัสดีครับ วันนี้", "สวัสดีครับ "),
        ("नमस्ते। कैसे", "नमस्ते। "),
        ("كيف حالك؟ نعم", "كيف حالك؟ "),
        ("Version 3.14 is", ""),
        ("example.org/a", ""),
    ],
)
def test_a_sentence_ends_in_every_script(text: str, first: str) -> None:
    """Where the script ends one."""
    assert text[: find_sentence_end(text)] == first


def test_a_long_sentence_is_cut_at_a_clause() -> None:
    """Else between words, else before a character that stands alone."""
    assert "one two, three four"[: find_cut("one two, three four", 15)] == "one two, "
    assert "one two three"[: find_cut("one two three", 10)] == "one two "
    assert find_cut("สวัสดี", 2) == 1  # not between a letter and its vowel sign
    assert find_last_start("One. Two three. Four", 9) == 5


def test_backchannel_is_ignored_and_words_are_not() -> None:
    """All of the transcript has to be of such sounds."""
    ignore = ["mm-hmm", "okay", "i see"]
    assert is_ignored("Mm-hmm, okay!", ignore)
    assert is_ignored("I see.", ignore)
    assert not is_ignored("Okay, stop.", ignore)
    assert not is_ignored("", ignore)
    assert (count_words("Okay, stop.", ignore), count_words("Okay.", ignore)) == (2, 0)


def test_an_echo_is_recognised_by_its_words() -> None:
    """Also with words that were misheard; short answers are the caller's own."""
    agent = "We are open from nine to five on all weekdays."
    assert is_echo("open from nine to five on weekdays", agent)
    assert is_echo("we are open from line to five", agent)
    assert not is_echo("from nine to five", agent)  # a caller who makes sure
    assert is_echo("from nine to five", agent, suspected=True)
    assert not is_echo("are you open on sunday mornings then", agent)
