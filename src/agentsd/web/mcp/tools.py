"""Tools of ``/mcp``: each does what a route of the API does, for the same principal, by the same rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from agentsd.control.writeback.commands import AgentCommand, WriteText
from agentsd.core.manifest.user import Role
from agentsd.core.text.render import ViolationJson, violation_to_json
from agentsd.core.violations import sort_violations
from agentsd.services import rag
from agentsd.services.verdict import VerdictJson, judge_agent
from agentsd.web.agent_lookup import find_agent, get_principal, lease_agent, require_writer
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.problem import Problem
from agentsd.web.json_body import RequestModel
from agentsd.web.mcp.arguments import (
    AgentArguments,
    AskArguments,
    EditArguments,
    FileArguments,
    ListArguments,
    NoArguments,
    TestArguments,
    TextArguments,
)
from agentsd.web.openai.chat_turn import complete_answer, record_turn
from agentsd.web.rest.agents.files import AgentFileText, load_file
from agentsd.web.rest.agents.read import list_page
from agentsd.web.rest.agents.write import (
    AuditDraft,
    ReadCommand,
    encode_text,
    find_target,
    make_change,
    run_command,
    try_command,
)
from agentsd.web.rest.plan import NoPlanReply, PlanReply, load_plan, look_at_files
from agentsd.web.rest.sync import load_sync_state
from agentsd.web.rest.write_result import WriteBackReply
from agentsd.web.views import visibility
from agentsd.web.views.agent import make_fallback_reply
from agentsd.web.views.pagination import ListQuery, decode_cursor


@dataclass(frozen=True)
class McpTool:
    """Tool of ``/mcp``. ``run`` returns a value that is encoded as JSON; bytes are JSON already."""

    name: str
    title: str
    description: str
    arguments: type[RequestModel]
    run: Callable[[web.Request, Any], Awaitable[Any]]
    role: Role = "viewer"  # the least role that may call it
    writes: bool = False
    expensive: bool = False  # counts as expensive work of its owner
    reaches_vendors: bool = False

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        return self.arguments.model_json_schema()


class ProposedEdit(TypedDict):
    """Result of an edit: the diff, and where it is now."""

    changed: bool
    path: str
    diff: str
    commit_message: str | None
    write_back: WriteBackReply | None
    """None: a dry run, or the files had it already."""


class ValidationReply(TypedDict):
    """Violations of the files that concern the caller."""

    valid: bool
    errors: list[ViolationJson]
    warnings: list[ViolationJson]


async def list_agents(request: web.Request, wanted: ListArguments) -> bytes:
    """Return a page of agents, summarised."""
    after = decode_cursor(wanted.cursor) if wanted.cursor is not None else None
    query = ListQuery(
        q=(wanted.query or "").lower() or None,
        condition=wanted.condition,
        view="summary",
        limit=wanted.limit,
        after=after,
    )
    return (await list_page(request, query))[0]


async def read_agent(request: web.Request, wanted: AgentArguments) -> Any:
    """Return one agent with its manifest."""
    entry = find_agent(request, wanted.agent)
    if entry is None:
        return make_fallback_reply(request.app[APP_CONTEXT].registry.fallback)
    return request.app[AGENT_VIEWS].of(entry).body


async def read_text(request: web.Request, wanted: FileArguments) -> AgentFileText:
    """Return the text of a file that an agent names."""
    return await load_file(request, wanted.agent, wanted.path)


async def ask_agent(request: web.Request, wanted: AskArguments) -> dict[str, Any]:
    """Return the agent's answer to one message."""
    messages = [turn.model_dump() for turn in wanted.history]
    body = {"messages": [*messages, {"role": "user", "content": wanted.message}]}
    async with lease_agent(request, find_agent(request, wanted.agent)) as agent:
        with record_turn(request, agent, "chat", body) as turn:
            turn.set_request(body)
            grounded, passages = await rag.add_passages(agent, body, request.app[APP_CONTEXT].knowledge)
            whole = await complete_answer(turn, agent, grounded, passages)
        served = turn.serving
        answer = {"agent": served.slug, "version": served.version, "answer": _find_text(whole)}
        return answer | {name: whole[name] for name in ("citations", "usage") if name in whole}


def _find_text(completion: dict[str, Any]) -> str:
    choices = completion.get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content")
    return content if isinstance(content, str) else ""


async def read_conditions(request: web.Request, _: NoArguments) -> dict[str, Any]:
    """Return what is wrong: agents that are not Ready, and manifests that never became agents."""
    state = await load_sync_state(request)
    return {name: state[name] for name in ("store", "problems", "conditions", "condition_counts")}


async def validate_files(request: web.Request, _: NoArguments) -> ValidationReply | NoPlanReply:
    """Return the violations of the files in this server's folder that the principal may see."""
    planned = await look_at_files(request)
    if isinstance(planned, NoPlanReply):
        return planned
    outcome, scope = planned.outcome, get_principal(request).scope
    found = [*outcome.warnings, *(one for bad in outcome.plan.quarantined for one in bad.violations)]
    own = sort_violations(
        list(dict.fromkeys(found if scope is None else visibility.filter_violations(found, scope)))
    )
    errors = [violation_to_json(one) for one in own if one.severity == "error"]
    warnings = [violation_to_json(one) for one in own if one.severity != "error"]
    return {"valid": not errors, "errors": errors, "warnings": warnings}


async def plan_sync(request: web.Request, _: NoArguments) -> PlanReply | NoPlanReply:
    """Return what a sync would change."""
    return await load_plan(request)


async def propose_edit(request: web.Request, wanted: EditArguments) -> ProposedEdit:
    """Make an edit of a manifest, as ``PATCH /api/agents/{agent}`` does."""

    async def read_command(request: web.Request, draft: AuditDraft) -> AgentCommand:
        target = find_target(request, draft, wanted.agent)
        return make_change(
            target, wanted.changes, merge=True, expected=_make_expected(wanted.expected_digest)
        )

    draft = AuditDraft("update", wanted.agent)
    return await _propose(request, draft, read_command, dry_run=wanted.dry_run)


async def propose_text(request: web.Request, wanted: TextArguments) -> ProposedEdit:
    """Write the text of a file that an agent names, as ``PUT …/files/{path}`` does."""

    async def read_command(request: web.Request, draft: AuditDraft) -> AgentCommand:
        target = find_target(request, draft, wanted.agent)
        draft.path = wanted.path
        expected = _make_expected(wanted.expected_digest)
        return WriteText(target, wanted.path, encode_text(wanted.text), expected)

    draft = AuditDraft("write-text", wanted.agent)
    return await _propose(request, draft, read_command, dry_run=wanted.dry_run)


async def _propose(
    request: web.Request, draft: AuditDraft, read_command: ReadCommand, *, dry_run: bool
) -> ProposedEdit:
    """Make an edit, and return its diff.

    The diff is made before the edit, on which the files are compared with what the caller expects; it is
    what the edit changes unless another one comes in between, which the commit shows.
    """
    preview = await try_command(request, AuditDraft(draft.action, draft.target), read_command)
    reply = ProposedEdit(
        changed=preview.changed,
        path=preview.path,
        diff=preview.diff,
        commit_message=preview.commit_message,
        write_back=None,
    )
    if dry_run:
        return reply
    written, message = await run_command(request, draft, read_command)
    return {**reply, "changed": written.changed, "write_back": WriteBackReply.of(written, message)}


def _make_expected(digest: str | None) -> frozenset[str] | None:
    return frozenset({digest}) if digest is not None else None


async def run_test(request: web.Request, wanted: TestArguments) -> VerdictJson:
    """Probe an agent's providers for real."""
    entry = find_agent(request, wanted.agent)
    if entry is not None:
        require_writer(request, entry.row.owner)
    elif get_principal(request).role == "viewer":
        raise make_role_problem("editor")
    async with lease_agent(request, entry) as agent:
        verdict = await judge_agent(agent, request.app[APP_CONTEXT].knowledge, checks=wanted.checks)
        return verdict.as_json()


def make_role_problem(role: Role) -> Problem:
    """Return the problem for a tool that needs a higher ``role``."""
    return Problem(
        403, "forbidden", f"this tool needs the role {role}", hint=f"use a token with the role {role}"
    )


TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "list_agents",
        "List agents",
        "List the agents that you may see: slug, name, description, condition and vendors.",
        ListArguments,
        list_agents,
    ),
    McpTool(
        "read_agent",
        "Read an agent",
        "Read one agent: its manifest (prompt, vendors, options; secrets are masked), condition and digest.",
        AgentArguments,
        read_agent,
    ),
    McpTool(
        "read_text",
        "Read a text of an agent",
        "Read the text of a file that an agent's manifest names: its prompt, or a source of its knowledge.",
        FileArguments,
        read_text,
    ),
    McpTool(
        "ask_agent",
        "Ask an agent",
        "Send a message to an agent and return its answer. The agent's vendors may charge for it.",
        AskArguments,
        ask_agent,
        reaches_vendors=True,
    ),
    McpTool(
        "read_conditions",
        "Read conditions",
        "Read what is wrong: agents that are not Ready, with reason and message, and manifests that never "
        "became agents.",
        NoArguments,
        read_conditions,
    ),
    McpTool(
        "validate",
        "Validate the files",
        "Check the manifests in this server's folder: every violation with file, line, column and remedy.",
        NoArguments,
        validate_files,
        expensive=True,
    ),
    McpTool(
        "plan",
        "Plan a sync",
        "Show what a sync of this server's folder would create, update and delete. Changes nothing.",
        NoArguments,
        plan_sync,
        role="admin",
        expensive=True,
    ),
    McpTool(
        "propose_edit",
        "Propose an edit",
        "Edit an agent's manifest in git. By this server's settings the edit becomes a commit, or a branch "
        "for a pull request; the reply has its diff. Refused where this server is read-only: then dry_run "
        "shows the diff for a person to apply.",
        EditArguments,
        propose_edit,
        role="editor",
        writes=True,
        expensive=True,
    ),
    McpTool(
        "propose_text",
        "Propose a text",
        "Replace the text of a file that an agent's manifest names (its prompt, a source of its knowledge), "
        "as propose_edit does with the manifest.",
        TextArguments,
        propose_text,
        role="editor",
        writes=True,
        expensive=True,
    ),
    McpTool(
        "run_test",
        "Test an agent",
        "Ask every vendor of an agent for real (a token, a word, a second of sound) and report the results. "
        "The vendors may charge for it.",
        TestArguments,
        run_test,
        role="editor",
        expensive=True,
        reaches_vendors=True,
    ),
)
