// An agent without TTS or STT: the section to add to its manifest.

import { chosen } from "../choice.js";
import { h } from "../dom.js";
import { copyable } from "../marks.js";

/** Return a notice. `what`: what is lacking; `snippet`: a section that needs neither a key nor a network. */
export function lacking(what, snippet) {
  const agent = chosen();
  const edit = agent.path
    ? h("p", {},
      "Add a section to ", h("code", {}, agent.path), ", or ",
      h("a", { href: `/ui/edit?agent=${encodeURIComponent(agent.slug.replaceAll("/", "~"))}` }, "edit the agent"),
      ". For example, one that runs on this machine:")
    : h("p", {}, "It is built in; choose another agent, or write one with a section like this:");
  return h("div.notice.warn.stack", {}, h("p", {}, what), edit, copyable(snippet));
}
