"""Line differences of two texts, in bounded time. Pure.

Myers' greedy algorithm (1986), whose time is the product of length and difference, with a limit:
beyond it, the differing range is shown as removed and added as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

DIFFERENCES_MAX = 400
"""Removed and added lines up to which the minimal diff is computed."""
STEPS_MAX = 400_000
"""Lines compared for it, at most: a tenth of a second."""
_CONTEXT_LINES = 2

DiffPart = tuple[bool, int, int, int, int]
"""(equal, from, to, from, to): lines of the old text, and of the new one."""


def diff_parts(before: Sequence[str], after: Sequence[str]) -> list[DiffPart]:
    """Return all of both texts, in order, as alternating equal and differing parts."""
    head = _count_common(before, after)
    tail = _count_common(before[head:][::-1], after[head:][::-1])
    ends = len(before) - tail, len(after) - tail
    found: list[DiffPart] = [(True, 0, head, 0, head)] if head else []
    if head < max(ends):
        middle = _find_least_parts(before[head : ends[0]], after[head : ends[1]])
        found += [(equal, i + head, j + head, k + head, m + head) for equal, i, j, k, m in middle]
    if tail:
        found.append((True, ends[0], len(before), ends[1], len(after)))
    return found


def group_parts(found: Sequence[DiffPart], around: int) -> Iterator[list[DiffPart]]:
    """Yield differing parts with up to ``around`` equal lines of context; near ones share a group."""
    group: list[DiffPart] = []
    for place, (equal, i, j, k, m) in enumerate(found):
        if not equal:
            group.append((False, i, j, k, m))
            continue
        first, last = place == 0, place == len(found) - 1
        if not first and (last or j - i > 2 * around):
            length = min(around, j - i)
            yield [*group, (True, i, i + length, k, k + length)]
            group = []
        if not last:
            length = min(around, j - i) if first or j - i > 2 * around else j - i
            group.append((True, j - length, j, m - length, m))
    if any(not equal for equal, *_ in group):
        yield group


def format_heading(group: Sequence[DiffPart]) -> str:
    """Return the line above a group: its position in both texts."""
    first, last = group[0], group[-1]
    return f"@@ -{_format_range(first[1], last[2])} +{_format_range(first[3], last[4])} @@"


def mark_lines(group: Sequence[DiffPart], before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a group, each prefixed by a blank, a minus or a plus."""
    for equal, i, j, k, m in group:
        for mark, lines in [(" ", before[i:j])] if equal else [("-", before[i:j]), ("+", after[k:m])]:
            yield from (mark + line for line in lines)


def diff_lines(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Yield a diff of lines without their ends and without file names."""
    for group in group_parts(diff_parts(before, after), _CONTEXT_LINES):
        yield format_heading(group)
        yield from mark_lines(group, before, after)


def _find_least_parts(before: Sequence[str], after: Sequence[str]) -> list[DiffPart]:
    moves = _find_moves(before, after) if before and after else None
    if moves is None:
        return [(False, 0, len(before), 0, len(after))]
    found: list[DiffPart] = []
    for x, y, dx, dy in moves:
        equal = bool(dx and dy)
        if found and found[-1][0] == equal:
            _, i, _, k, _ = found.pop()
            found.append((equal, i, x + dx, k, y + dy))
        else:
            found.append((equal, x, x + dx, y, y + dy))
    return found


def _find_moves(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int, int, int]] | None:
    """Return the shortest way from (0, 0) to both ends: (x, y, dx, dy) each; None if it takes too long."""
    reached: dict[int, int] = {1: 0}  # diagonal → furthest position
    history: list[dict[int, int]] = []
    size, steps = len(before), 0
    for distance in range(min(DIFFERENCES_MAX, len(before) + len(after)) + 1):
        history.append(dict(reached))
        for diagonal in range(-distance, distance + 1, 2):
            x = start = _enter_diagonal(reached, diagonal, distance)
            y = x - diagonal
            while x < size and y < len(after) and before[x] == after[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            steps += x - start + 1
            if x >= size and y >= len(after):
                return _trace_moves(history, size, len(after))
        if steps > STEPS_MAX:
            break
    return None


def _enter_diagonal(reached: dict[int, int], diagonal: int, distance: int) -> int:
    """Return where a diagonal is entered: from above (line added) or from the left (line removed)."""
    if diagonal == -distance or (diagonal != distance and reached[diagonal - 1] < reached[diagonal + 1]):
        return reached[diagonal + 1]
    return reached[diagonal - 1] + 1


def _trace_moves(history: Sequence[dict[int, int]], x: int, y: int) -> list[tuple[int, int, int, int]]:
    """Return the way, traced back from its end."""
    moves = []
    for distance in range(len(history) - 1, -1, -1):
        reached, diagonal = history[distance], x - y
        start = _enter_diagonal(reached, diagonal, distance)
        if x > start:
            moves.append((start, start - diagonal, x - start, x - start))
        added = diagonal == -distance or (
            diagonal != distance and reached[diagonal - 1] < reached[diagonal + 1]
        )
        x, y = (start, start - diagonal - 1) if added else (start - 1, start - diagonal)
        if distance:
            moves.append((x, y, 0, 1) if added else (x, y, 1, 0))
    return moves[::-1]


def _count_common(before: Sequence[str], after: Sequence[str]) -> int:
    """Return the number of lines that both texts begin with."""
    pairs = zip(before, after, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))


def _format_range(start: int, stop: int) -> str:
    length = stop - start
    first = start + 1 if length else start  # an empty range is numbered by the line before it
    return f"{first}" if length == 1 else f"{first},{length}"
