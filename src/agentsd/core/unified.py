"""Two texts as a unified diff, as git prints it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

_COMPARED = 1_000
"""Lines on either side, between what both begin and end with, up to which it is looked for the least change.

To compare longer ones line by line could take minutes: those are shown as removed and added as a whole.
"""

_NOTHING = "/dev/null"
_UNENDED = "\n\\ No newline at end of file\n"

_AROUND = 3
"""Equal lines before and after what differs."""

_Part = tuple[bool, int, int, int, int]
"""(equal, from, to, from, to): lines of the old text, and of the new one."""


def unified(old: str | None, new: str | None, path: str) -> str:
    """The diff of the file at ``path``; None: there is none. Empty where nothing differs."""
    before, after = _lines(old or ""), _lines(new or "")
    hunks = [_hunk(group, before, after) for group in _groups(_parts(before, after))]
    return header(path, new=old is None, gone=new is None) + "".join(hunks) if hunks else ""


def header(path: str, *, new: bool, gone: bool) -> str:
    """The two lines that a file's diff begins with."""
    return f"--- {_NOTHING if new else f'a/{path}'}\n+++ {_NOTHING if gone else f'b/{path}'}\n"


def _parts(before: Sequence[str], after: Sequence[str]) -> list[_Part]:
    """All of both texts: what both begin and end with is set aside before they are compared."""
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    ends = len(before) - tail, len(after) - tail
    parts: list[_Part] = [(True, 0, head, 0, head)] if head else []
    if max(ends) - head > _COMPARED:
        parts.append((False, head, ends[0], head, ends[1]))
    else:
        codes = SequenceMatcher(None, before[head : ends[0]], after[head : ends[1]]).get_opcodes()
        parts += [(tag == "equal", i + head, j + head, k + head, m + head) for tag, i, j, k, m in codes]
    if tail:
        parts.append((True, ends[0], len(before), ends[1], len(after)))
    return parts


def _groups(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """What differs, with a few equal lines around it; what is near to each other in one group."""
    group: list[_Part] = []
    for place, (equal, i, j, k, m) in enumerate(parts):
        if not equal:
            group.append((False, i, j, k, m))
            continue
        first, last = place == 0, place == len(parts) - 1
        if not first and (last or j - i > 2 * _AROUND):
            length = min(_AROUND, j - i)
            yield [*group, (True, i, i + length, k, k + length)]
            group = []
        if not last:
            length = min(_AROUND, j - i) if first or j - i > 2 * _AROUND else j - i
            group.append((True, j - length, j, m - length, m))
    if any(not equal for equal, *_ in group):
        yield group


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines both begin with."""
    pairs = zip(before, after, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))


def _lines(text: str) -> list[str]:
    """With their ends; a line ends in nothing but a line feed, as for git."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _hunk(group: Sequence[_Part], before: Sequence[str], after: Sequence[str]) -> str:
    first, last = group[0], group[-1]
    ranges = f"-{_range(first[1], last[2])} +{_range(first[3], last[4])}"
    return f"@@ {ranges} @@\n" + "".join(_marked(group, before, after))


def _marked(group: Sequence[_Part], before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for equal, i, j, k, m in group:
        told = [(" ", before[i:j])] if equal else [("-", before[i:j]), ("+", after[k:m])]
        for mark, lines in told:
            for line in lines:
                yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}{_UNENDED}"


def _range(start: int, stop: int) -> str:
    length = stop - start
    first = start + 1 if length else start  # an empty range stands behind the line before it
    return f"{first}" if length == 1 else f"{first},{length}"
