"""Output of commands: results on stdout, everything else on stderr; colour on a terminal only."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from agentsd.core.errors import AgentsdError, InvalidManifests
from agentsd.core.text.render import Line, format_violations
from agentsd.core.violations import UNVERIFIED, Violation, filter_errors

if TYPE_CHECKING:
    from rich.console import Console


_CONTROL = dict.fromkeys((7, 8, 11, 12, 13))
"""Bell, backspace and the like, which rich removes on a terminal; here they are removed elsewhere, too."""


class Screen:
    """Destination of lines.

    Rich is imported for a terminal only: it takes a tenth of ``validate``'s time.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty() or bool(os.environ.get("FORCE_COLOR"))

    def rich(self) -> Console:
        """Return the console that draws tables and bars."""
        from rich.console import Console

        return Console(file=self._stream, highlight=False, soft_wrap=True, emoji=False, markup=False)

    def print(self, lines: Iterable[Line]) -> None:
        """Print lines of styled spans, as ``core.text.render`` makes them.

        Notes that cannot be written (a closed stderr, a full disk) do not end the command; results do.
        """
        try:
            self._print(lines)
        except (OSError, ValueError):
            if self._stream is not sys.stderr:
                raise

    def _print(self, lines: Iterable[Line]) -> None:
        if not self.is_terminal:
            self._stream.writelines(
                "".join(text for _, text in line).translate(_CONTROL) + "\n" for line in lines
            )
            return
        from rich.text import Text

        console = self.rich()
        for line in lines:
            console.print(Text.assemble(*((text, style) for style, text in line)))


def get_stdout() -> Screen:
    """Return the screen for results."""
    return Screen(sys.stdout)


def get_stderr() -> Screen:
    """Return the screen for progress, notes and errors."""
    return Screen(sys.stderr)


def print_lines(screen: Screen, lines: Iterable[Line]) -> None:
    """Print lines of styled spans on ``screen``."""
    screen.print(lines)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_error(error: AgentsdError, prefix: str = "") -> None:
    """Show an error to a person: the problem, and what to do."""
    console = get_stderr()
    if isinstance(error, InvalidManifests):
        show_violations(error.violations, prefix)
        return
    print_lines(console, [(("bold red", "error: "), ("", error.message))])
    if error.hint:
        print_lines(console, [(("dim", "    → "), ("", error.hint))])


def show_violations(violations: Sequence[Violation], prefix: str = "") -> None:
    """Show all of them, then one line that counts."""
    console = get_stderr()
    print_lines(console, format_violations(group_violations(violations), prefix))
    errors = len(filter_errors(violations))
    warnings = len(violations) - errors
    files = len({violation.path for violation in violations})
    style = "bold red" if errors else "yellow"
    counts = [_format_count(errors, "error")] if errors else []
    counts += [_format_count(warnings, "warning")] if warnings else []
    print_lines(console, [((style, f"{' and '.join(counts)} in {_format_count(files, 'file')}"),)])


_PROGRESS_DELAY_SECONDS = 0.3
"""Seconds of work before a progress bar is shown."""

_ALIKE_MIN = 3
"""More files than this with the same violation are reported as one."""


def group_violations(violations: Sequence[Violation]) -> list[Violation]:
    """Group ``violations`` that are the same for many files: without a key, that is every seal."""
    alike: dict[tuple[str, ...], list[Violation]] = {}
    for violation in violations:
        if violation.severity == "warning" or violation.code in UNVERIFIED:
            key = (violation.code, violation.message, violation.hint)
            alike.setdefault(key, []).append(violation)
    many = [same for same in alike.values() if len(same) > _ALIKE_MIN]
    spared = {id(violation) for same in many for violation in same[1:]}
    told = {id(same[0]): f"{same[0].message} ({len(same)} files like this)" for same in many}
    return [
        replace(violation, message=told.get(id(violation), violation.message))
        for violation in violations
        if id(violation) not in spared
    ]


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal, if it takes long; nothing in a pipe. Yields a callback."""
    console = get_stderr()
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=console.rich(), transient=True)
    task = bars.add_task(title, total=None)

    def update(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)
        if time.monotonic() - started > _PROGRESS_DELAY_SECONDS and not bars.finished:
            bars.start()

    try:
        yield update
    finally:
        if bars.live.is_started:
            bars.stop()
