// Agents that this page cannot write: the reason, and the file to edit instead.

import { byId, fill, h } from "../dom.js";
import { copyable } from "../marks.js";
import { onDisk } from "./paths.js";

/**
 * Return null where this page may write, else `{ why, file, previews }`. `previews`: the server still previews an edit.
 */
export function lockOf(session, agent) {
  if (agent.path === null) {
    return {
      why: "This agent is built in: it answers where no other does, and has no file. It cannot be changed.",
      file: null, previews: false,
    };
  }
  const file = onDisk(session.files, agent.path);
  if (!session.canWrite(agent.user)) {
    const why = session.role === "viewer"
      ? "Your token (role viewer) may read and talk only."
      : `Your token may change agents of ${session.user} only.`;
    return { why, file, previews: false };
  }
  return session.write_back === "off" ? { why: "This server is read-only.", file, previews: true } : null;
}

/** Return the commands to edit the agent's file by hand. */
export const commandOf = (agent) => `agentsd edit ${agent.slug}\nagentsd sync`;

/** Show it in the page. */
export function showLock(lock, agent) {
  if (lock === null) return fill(byId("locked"));
  if (lock.file === null) return fill(byId("locked"), h("p.notice", {}, lock.why));
  return fill(byId("locked"), h("div.card.stack", {},
    h("p", {},
      lock.why, " To change this agent, edit ", h("code", {}, lock.file), ", or run the following next to it. Where ",
      h("code", {}, "agentsd up"), " or ", h("code", {}, "agentsd watch"),
      " watches the folder, saving is enough."),
    copyable(commandOf(agent))));
}
