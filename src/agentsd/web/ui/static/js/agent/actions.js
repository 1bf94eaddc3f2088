// The actions on an agent. Buttons are made once, so that a dialog can return the focus.

import { inPath } from "../api.js";
import { chosen } from "../choice.js";
import { byId, fill, h } from "../dom.js";
import { carryOutcome, outcomeOf, showOutcome } from "../outcome.js";
import { change } from "./change.js";
import { commandOf, lockOf } from "./locked.js";

/** Put the buttons into the page; returns a function that adapts them to an agent. */
export function actions(session) {
  const act = (work) => () => work(chosen(), session);
  const edit = h("a.button.primary", {}, "Edit");
  const copy = h("a.button", {}, "Duplicate");
  const standard = h("button", { type: "button", onclick: act(setDefault) }, "Set default");
  const rest = h("button", { type: "button", onclick: act(suspend) });
  const gone = h("button.danger", { type: "button", onclick: act(remove) }, "Delete");
  fill(byId("actions"), edit, copy, standard, rest, gone);
  return (agent) => {
    const lock = lockOf(session, agent);
    const mute = lock !== null && !lock.previews;
    edit.setAttribute("href", `/ui/edit?agent=${inPath(agent.slug)}`);
    edit.textContent = lock === null ? "Edit" : "Prepare an edit";
    copy.setAttribute("href", `/ui/edit?copy=${inPath(agent.slug)}`);
    edit.hidden = mute;
    copy.hidden = agent.path === null || session.role === "viewer";
    standard.hidden = mute || agent.is_default;
    rest.textContent = agent.is_active ? "Suspend" : "Resume";
    rest.hidden = mute;
    gone.hidden = mute;
  };
}

/** Ask about a write, carry it out, and show its outcome. Resolves with the reply, or undefined. */
export async function perform(agent, session, done, wanted) {
  const lock = lockOf(session, agent);
  const reply = await change(agent, { command: commandOf(agent), ...wanted, lock });
  if (reply) showOutcome(byId("outcome"), outcomeOf(done, reply));
  return reply;
}

function setDefault(agent, session) {
  return perform(agent, session, `${agent.name} is the default of ${agent.user}`, {
    title: `Make ${agent.name} the default?`, text: `It answers requests of ${agent.user} that name no agent.`,
    action: "Set default", method: "POST", more: "/set-default",
  });
}

function suspend(agent, session) {
  const resting = agent.is_active;
  return perform(agent, session, `${agent.name} is ${resting ? "suspended" : "active again"}`, {
    title: `${resting ? "Suspend" : "Resume"} ${agent.name}?`,
    text: resting
      ? "It stays listed, but does not answer until it is resumed. Current calls end with their turn."
      : "It answers again.",
    action: resting ? "Suspend" : "Resume", method: "PATCH", body: { is_active: !resting },
  });
}

async function remove(agent, session) {
  const done = `${agent.name} is deleted`;
  const reply = await change(agent, {
    title: `Delete ${agent.name}?`, text: "Its file is deleted. Its revisions remain, and git keeps its history.",
    action: "Delete", danger: true, typed: agent.slug, method: "DELETE", lock: lockOf(session, agent),
    command: `git rm -- ${agent.path === null ? "" : quoted(`${session.files}/${agent.path}`)}\nagentsd sync`,
  });
  if (!reply) return;
  if (!reply.deleted) {
    showOutcome(byId("outcome"), outcomeOf(done, reply));
    return;
  }
  carryOutcome(outcomeOf(done, reply));
  location.assign("/ui/agents");
}

const quoted = (path) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
