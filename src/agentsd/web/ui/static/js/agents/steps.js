// What to do first, where there is no agent yet.

import { h } from "../dom.js";
import { copyable } from "../marks.js";

/** Return the next steps of a newcomer. */
export function firstSteps(session) {
  const writes = session.role !== "viewer" && session.write_back !== "off";
  const file = `${session.files}/assistant.yaml`;
  return h("div.steps.stack", {},
    h("p", {}, h("strong", {}, "There is no agent yet.")),
    writes
      ? h("p", {}, h("a.button.primary", { href: "/ui/edit?new" }, "Make the first agent"))
      : null,
    h("p", {}, writes ? "Or write " : "Write ", h("code", {}, file),
      ". This one needs neither a key nor a network, and says back what it hears:"),
    copyable("name: Assistant\ndefault: true\nllm:\n  provider: echo.local\n"),
    h("p.soft", {}, "Where ", h("code", {}, "agentsd up"), " or ", h("code", {}, "agentsd watch"),
      " watches the folder, saving is enough; otherwise run ", h("code", {}, "agentsd sync"),
      ". This page shows the agent as soon as it is there."));
}
