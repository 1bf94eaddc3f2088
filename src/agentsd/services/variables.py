"""Variables of a session: values that a client brings, checked, and put into the texts of an agent.

Values are in no log, error or record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from agentsd.core.errors import VariableRefused
from agentsd.core.manifest.variables import Value, VariableProblem, check_values, find_missing
from agentsd.core.text.agent_texts import fill_head, format_values
from agentsd.core.text.template import parse_template
from agentsd.providers.base import LiveAgent

FIELD = "variables"
"""Key of ``metadata`` that contains the values."""

METADATA = f"metadata.{FIELD}"

_JSON_MAX = 2 << 20
"""Characters of values that are sent as a JSON text: OpenAI's ``metadata`` has texts only."""


def bind_agent(agent: LiveAgent, metadata: object) -> LiveAgent:
    """Return ``agent`` with the values of a request's ``metadata`` in its texts; one that has them as it is.

    Raises ``VariableRefused``.
    """
    given = metadata.get(FIELD) if isinstance(metadata, Mapping) else None
    if agent.values or (agent.texts is None and not (given and isinstance(given, Mapping))):
        return agent
    declared = agent.texts.declared if agent.texts is not None else {}
    checked = check_values(declared, {} if given is None else _read_json(given))
    for problem in (*checked.problems, *find_missing(declared, checked.values)):
        raise _refuse(problem)
    return fill_agent(agent, checked.values)


def fill_agent(agent: LiveAgent, values: Mapping[str, Value]) -> LiveAgent:
    """Return ``agent`` with ``values``, which fit its declarations, in its texts. It is bound once."""
    if agent.texts is None:
        return agent
    filled = format_values(agent.texts, values)
    head = fill_head(agent.spec, agent.texts, filled)
    return replace(agent, spec=head, texts=None, values=filled, given=values)


def carry_values(agent: LiveAgent, given: Mapping[str, Any], where: str = METADATA) -> LiveAgent:
    """Return ``agent`` with those of a session's earlier values that it declares. Raises ``VariableRefused``.

    The session brought them for another agent, or another version of this one. ``where``: the field of the
    client's that a missing one belongs to.
    """
    if agent.texts is None:
        return agent
    declared = agent.texts.declared
    known = check_values(declared, {name: value for name, value in given.items() if name in declared}).values
    for problem in find_missing(declared, known):
        raise _refuse(problem, where)
    return fill_agent(agent, known)


def fill_text(agent: LiveAgent, text: str) -> str:
    """Return a text of the manifest that is not in ``spec``, such as what a tool says, for a bound agent."""
    return parse_template(text, agent.values).render(agent.values) if agent.values else text


def drop_values(metadata: object) -> dict[str, Any]:
    """Return a request's ``metadata`` without the values, as it may be passed on or repeated."""
    return (
        {key: value for key, value in metadata.items() if key != FIELD} if isinstance(metadata, dict) else {}
    )


def _read_json(given: object) -> object:
    """Return values that were sent as a JSON text; anything else as it is."""
    if not isinstance(given, str) or len(given) > _JSON_MAX:
        return given
    try:
        return orjson.loads(given)
    except orjson.JSONDecodeError:
        return given


def _refuse(problem: VariableProblem, where: str = METADATA) -> VariableRefused:
    param = f"{where}.{problem.name}" if problem.name else where
    return VariableRefused(problem.message, param=param, hint=problem.hint)
