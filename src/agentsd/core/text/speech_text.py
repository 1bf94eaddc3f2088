"""Words that a voice can say, from a model's text as it streams. Pure.

Models write Markdown; a voice must not say marks, link targets, code, formulas or emoji. A mark counts
only where Markdown has it: ``2 + 2``, ``10 - 3``, ``Press * to repeat`` are content. Words pass as soon as
they are whole, so that a vendor which speaks words need not wait for a sentence; one which speaks sentences
finds their ends itself (``providers.transport.text_chunks``), and gets line breaks for it.
"""

from __future__ import annotations

import html
import re

from agentsd.core.text.sentences import IDEOGRAPHS, find_last_word_end

SPAN_CHARACTERS_MAX = 300
"""Characters after which a formula or tag that was not closed is taken for text."""

_TOKEN = re.compile(rf"\n+|[^\s{IDEOGRAPHS}]*[{IDEOGRAPHS}]|[^\s{IDEOGRAPHS}]+[ \t\r\f\v]*|[ \t\r\f\v]+")
_LINK = re.compile(r"\[\^?\d+\]|!?\[|\]\([^)\s]*\)?|\]\[[^\]]*\]?|(?<=\w)\](?=\W*$)")
_BARE_URL = re.compile(r"<?https?://\S+?>?(?=[.,;:!?)]*(?:\s|$))")
_LEADING = re.compile(r"^([\"'(“‘«]*)(?:\*\*+|~~+|__+|_(?=\S)|\*(?=[^\s\d*]|\d.*\*))+")
_TRAILING = re.compile(r"(?:\*+|~~+|_+)(?=\W*$)")
_DOUBLE = re.compile(r"(?<!\d)\*\*+|\*\*+(?!\d)|~~+|`+")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]+"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>\s]*(?:\s[^<>]*)?>")
_BACKTICKS = "```"
_MATH = re.compile(r"```[^`]*```|\$\$[^$]*\$\$|\$(?=[^\s\d$])[^$\s]*[^\s$\\]\$|\\\(.*?\\\)|\\\[.*?\\\]")
_OPENERS = (
    (re.compile(r"\$\$"), "$$"),
    (re.compile(r"\\\("), "\\)"),
    (re.compile(r"\\\["), "\\]"),
    (re.compile(_BACKTICKS), _BACKTICKS),
    (re.compile(r"\]\([^)]*$"), ")"),
    (re.compile(r"</?[a-zA-Z][\w-]*$"), ">"),
)
"""Beginnings of what is left out up to its end, with that end."""
_IDEOGRAPH_LAST = re.compile(rf"[{IDEOGRAPHS}]$")
_BULLETS = frozenset({"-", "*", "+", "•", "◦", "‣"})
_RULE = re.compile(r"[-=_*:|+]{3,}|[-_*|]{2,}|\|")
_HEADING = re.compile(r"#{1,6}|>+")
_FENCE = re.compile(r"`{3,}|~{3,}")
_EMPTY_MARK = re.compile(r"[*_~`]{2,}|[_`|]|-{2,}")
_ENDS = ".,;:!?…"


class SpeechText:
    """Words of one answer. ``take`` each delta, then ``rest``."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._last = " "
        self._line_start = True
        self._after_bullet = False
        self._fence: tuple[str, bool] | None = None  # (marker, whether its first line goes on)
        self._span: list[str] = []  # tokens since a formula or tag began, which may be text
        self._closer = ""

    def take(self, delta: str) -> str:
        """Return what can be spoken now, whole words only; empty while a word goes on."""
        self._held += delta
        cut = find_last_word_end(self._held)
        whole, self._held = self._held[:cut], self._held[cut:]
        return self._clean(whole) if whole else ""

    def rest(self) -> str:
        """Return the last word."""
        whole, self._held = self._held, ""
        said = (self._clean(whole) if whole else "") + self._begin(self._abandon_span())
        return said if self._last.isspace() or not self._begun else f"{said} "

    def _clean(self, text: str) -> str:
        return self._begin("".join(self._read(token) for token in _TOKEN.findall(text)))

    def _begin(self, said: str) -> str:
        """Leave out what precedes the first word."""
        if not self._begun:
            said = said.lstrip()
        self._begun = self._begun or bool(said.strip())
        self._last = said[-1:] or self._last
        return said if self._begun else ""

    def _read(self, token: str) -> str:
        """Return what is spoken of one token: a word with the space after it, or line breaks."""
        if token.startswith("\n"):
            return self._break_line()
        word = token.rstrip(" \t\r\f\v")
        if not word:
            return ""
        first, self._line_start = self._line_start, False
        if self._fence is not None:
            return self._read_code(word, first=first)
        return self._read_span(word) if self._span else self._read_word(word, first=first)

    def _read_word(self, word: str, *, first: bool) -> str:
        bullet, self._after_bullet = self._after_bullet, False
        if self._opens_fence(word, first=first) or (first and self._is_line_mark(word)):
            return ""
        if bullet and word in ("[", "]", "[x]", "[X]"):  # of a task list
            self._after_bullet = word == "["
            return ""
        return self._speak(word)

    def _speak(self, word: str) -> str:
        """Return a word without its marks; hold what may be a formula, a tag or a link's target."""
        word = html.unescape(word) if "&" in word else word
        plain = _TAG.sub(" ", _MATH.sub("", _BARE_URL.sub("", word))) if _has_span(word) else word
        at, closer = _find_opener(plain)
        if closer:
            self._span, self._closer = [plain[at:]], closer
            plain = plain[:at]
        clean = _strip_marks(plain)
        if not _is_said(clean, word):
            return ""
        return clean if _IDEOGRAPH_LAST.search(clean) else f"{clean} "

    def _break_line(self) -> str:
        if self._closer == _BACKTICKS and len(self._span) == 1:  # "Run: ```sh", and code in the next line
            self._fence, self._span, self._closer = (_BACKTICKS, False), [], ""
        said = self._abandon_span()
        self._line_start, self._after_bullet = True, False
        if self._fence is not None:
            self._fence = (self._fence[0], False)
            return said
        return f"{said}\n"

    def _opens_fence(self, word: str, *, first: bool) -> bool:
        """Begin code at three backticks or tildes at the start of a line."""
        match = _FENCE.match(word) if first else None
        if match is None:
            return False
        marker = match.group()[:3]
        if marker in word[match.end() :]:
            return False  # code within a word
        self._fence = (marker, True)
        return True

    def _read_code(self, word: str, *, first: bool) -> str:
        """Leave code out; on its own line a fence ends anywhere, later at the start of a line."""
        assert self._fence is not None  # noqa: S101  (the caller looked)
        marker, same_line = self._fence
        if marker not in word or not (same_line or (first and word.startswith(marker))):
            return ""
        self._fence = None
        tail = word.rpartition(marker)[2].lstrip("`~")
        return self._speak(tail) if tail and same_line else ""

    def _is_line_mark(self, word: str) -> bool:
        """Return whether a line's first word is a mark: of a list, heading, quote, rule or table."""
        if word in _BULLETS:
            self._after_bullet = self._line_start = True  # "- # title", "> - item"
            return True
        if _HEADING.fullmatch(word):
            self._line_start = True
            return True
        return _RULE.fullmatch(word) is not None

    def _read_span(self, word: str) -> str:
        """Hold a formula, tag, code or target until it closes; it is left out then."""
        self._span.append(word)
        if self._closer in word:
            tail = word.partition(self._closer)[2].lstrip("`")
            self._span, self._closer = [], ""
            return self._speak(tail) if tail else ""
        return self._abandon_span() if sum(map(len, self._span)) > SPAN_CHARACTERS_MAX else ""

    def _abandon_span(self) -> str:
        """Return what was held, which turns out to be text."""
        span, self._span, self._closer = self._span, [], ""
        return "".join(f"{clean} " for word in span if _is_said(clean := _strip_marks(word), word))


def _has_span(word: str) -> bool:
    return any(sign in word for sign in ("$", "\\", "<", "://", _BACKTICKS))


def _find_opener(word: str) -> tuple[int, str]:
    """Return where a formula, tag, code or target begins in ``word``, and what ends it."""
    for opener, closer in _OPENERS:
        match = opener.search(word)
        if match:
            return match.start(), closer
    return 0, ""


def _strip_marks(word: str) -> str:
    word = _LINK.sub("", _EMOJI.sub("", word))
    if _EMPTY_MARK.fullmatch(word):
        return ""
    if word not in ("*", "~"):
        word = _DOUBLE.sub("", _TRAILING.sub("", _LEADING.sub(r"\1", word)))
    return " ".join(word.split())


def _is_said(clean: str, word: str) -> bool:
    """Return whether something is left: a letter, digit, sign that was written alone, or sentence's end.

    What cleaning left over of other signs is not.
    """
    if any(char.isalnum() for char in clean):
        return True
    return bool(clean) and (clean == word or not clean.strip(_ENDS))
