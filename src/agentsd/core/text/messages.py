"""Arrangement of a conversation's messages as a vendor's chat template takes them. Pure.

A template of an open model often wants one system message, in front, and then the user and the
assistant in turn, the user first; it refuses every other list with status 400. Messages with tool
calls, names or other keys are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SystemPlace = Literal["anywhere", "first", "user"]
"""Where a template takes system messages: anywhere, one in front, or none (a part of the user's)."""

Message = Mapping[str, Any]

OPENING = "You opened the conversation with these words:"
"""Introduction of an assistant's first words, where a template wants the user to begin."""

BEGINNING = "(The conversation begins.)"
"""Message of the user, where a template wants one and there is none."""

INTERRUPTED = "(No answer was given.)"
"""Message of the assistant, where the user speaks at once after the result of a tool: templates do not count
calls and results, so the user would follow the user."""

_SYSTEM_ROLES = frozenset({"system", "developer"})
_PLAIN_KEYS = {"role", "content"}


@dataclass(frozen=True, slots=True)
class MessageRules:
    """Order and roles that a chat template takes."""

    system: SystemPlace = "first"
    alternate: bool = True  # the user first, then in turn


STRICT = MessageRules()
"""Rules that every template takes."""

FREE = MessageRules(system="anywhere", alternate=False)
"""Rules of vendors that take any list."""


def arrange_messages(messages: Sequence[Message], rules: MessageRules) -> list[Message]:
    """Return ``messages`` in an order and form that ``rules`` allow. Texts are neither lost nor changed."""
    if rules.system == "anywhere":
        system, rest = split_leading_system(messages)
    else:
        system = [message for message in messages if message.get("role") in _SYSTEM_ROLES]
        rest = [message for message in messages if message.get("role") not in _SYSTEM_ROLES]
    if rules.alternate:
        rest = _join_neighbours(rest)
        opening, rest = _split_opening(rest)
        system = [*system, *opening]
    return _put_system(system, rest, rules)


def split_leading_system(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Return the system messages in front, and the rest."""
    count = next(
        (at for at, message in enumerate(messages) if message.get("role") not in _SYSTEM_ROLES), len(messages)
    )
    return list(messages[:count]), list(messages[count:])


def join_system(messages: Sequence[Message]) -> list[Message]:
    """Return system messages as one; empty for none."""
    if len(messages) < 2:
        return list(messages)
    return [{"role": "system", "content": _join_contents(message.get("content") for message in messages)}]


def _put_system(system: Sequence[Message], rest: list[Message], rules: MessageRules) -> list[Message]:
    joined = join_system(system)
    if rules.system != "user" or not joined:
        return [*_as_system(joined, rules), *rest]
    first = rest[0] if rest and rest[0].get("role") == "user" else None
    texts = [joined[0].get("content"), *([first.get("content")] if first else [])]
    return [{"role": "user", "content": _join_contents(texts)}, *rest[1 if first else 0 :]]


def _as_system(joined: Sequence[Message], rules: MessageRules) -> Sequence[Message]:
    """Return the system message by that name: few templates know ``developer``."""
    if rules.system == "anywhere":
        return joined
    return [{**message, "role": "system"} for message in joined]


def _split_opening(rest: list[Message]) -> tuple[list[Message], list[Message]]:
    """Return the assistant's words before the user's first, as a system message, and what follows."""
    opening: list[Message] = []
    if rest and rest[0].get("role") == "assistant" and _is_plain(rest[0]):
        opening = [{"role": "system", "content": _join_contents([OPENING, rest[0].get("content")])}]
        rest = rest[1:]
    if not any(message.get("role") == "user" for message in rest):
        rest = [{"role": "user", "content": BEGINNING}, *rest]
    return opening, rest


def _join_neighbours(messages: Iterable[Message]) -> list[Message]:
    """Return ``messages`` with consecutive ones of the user, or of the assistant, joined.

    Calls of tools belong to the words before them.
    """
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else {}
        if last.get("role") == message.get("role") and _are_plain(last, message):
            contents = _join_contents([last.get("content"), message.get("content")])
            joined[-1] = {"role": last["role"], "content": contents}
        elif last.get("role") == "assistant" and _is_plain(last) and _is_bare_call(message):
            joined[-1] = {**message, "content": last["content"]}
        else:
            if last.get("role") == "tool" and message.get("role") == "user":
                joined.append({"role": "assistant", "content": INTERRUPTED})
            joined.append(message)
    return joined


def _is_bare_call(message: Message) -> bool:
    """Return whether the assistant calls tools, and says nothing beside."""
    return (
        message.get("role") == "assistant" and bool(message.get("tool_calls")) and not message.get("content")
    )


def _are_plain(*messages: Message) -> bool:
    return all(_is_plain(message) and message["role"] in ("user", "assistant") for message in messages)


def _is_plain(message: Message) -> bool:
    return message.keys() <= _PLAIN_KEYS and isinstance(message.get("content"), str | list)


def _join_contents(contents: Iterable[Any]) -> str | list[Any]:
    """Return texts as one, with an empty line between them; a list of parts where one is a list."""
    known = [content for content in contents if content]
    if all(isinstance(content, str) for content in known):
        return "\n\n".join(known)
    parts: list[Any] = []
    for content in known:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts
