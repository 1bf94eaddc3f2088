// The tools of an agent, each with a form that runs it by hand.

import { request } from "../api.js";
import { confirm } from "../dialogs.js";
import { byId, fill, h } from "../dom.js";
import { notice, sentence } from "../marks.js";
import { toolBadge } from "../toolcall.js";
import { ArgumentForm } from "./arguments.js";
import { api } from "./paths.js";

/**
 * A tool of the page.
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} description
 * @property {string} call what running it does, such as `GET https://…`
 * @property {Record<string, any> | null} parameters null: known to the lock of its server only
 * @property {boolean} here whether this server runs it
 * @property {boolean} asks whether running it may change something
 * @property {boolean} confirm whether a user has to agree
 */

/** Return a function that lists the tools of an agent; the forms are made again only where its document changed. */
export function tools(session) {
  let shown = "";
  let leaving = new AbortController();
  return (agent) => {
    const may = session.canWrite(agent.user) && agent.path !== null;
    const key = `${agent.id} ${agent.digest} ${agent.version} ${may}`;
    if (key === shown) return;
    shown = key;
    leaving.abort();
    leaving = new AbortController();
    const all = (agent.tools ?? []).flatMap(toolsOf);
    byId("tools-card").hidden = !all.length;
    fill(byId("tools"),
      may || !all.length ? null : h("p.soft.small", {}, "Only an editor may run a tool by hand."),
      all.map((tool) => card(tool, agent, may, leaving.signal)));
  };
}

/** Return the tools of an entry of the manifest. */
function toolsOf(entry) {
  if (entry.mcp) {
    const call = `tool of ${entry.mcp.url}`;
    return (entry.mcp.allow ?? []).map((name) => ({
      name, description: "", call, parameters: null, here: true, asks: true, confirm: entry.confirm === true,
    }));
  }
  const { name, description = "", parameters = {}, http, client } = entry;
  const { method = "GET", url = "" } = http ?? {};
  return [{
    name, description, parameters, here: !client, confirm: entry.confirm === true,
    call: client ? "run by your application" : `${method} ${url}`,
    asks: entry.confirm === true || method !== "GET",
  }];
}

/** @param {Tool} tool */
function card(tool, agent, may, leaving) {
  const { name, description, call, here } = tool;
  return h("details.tool", {},
    h("summary", {},
      h("code", {}, name), tool.confirm ? [" ", h("span.badge", {}, "asks the user first")] : null,
      description ? h("span.soft", {}, ` ${description}`) : null),
    h("div.stack", {},
      h("p.small", {}, here ? h("code", {}, call) : sentence(call)),
      here && may ? form(tool, agent, leaving) : null));
}

/** @param {Tool} tool */
function form(tool, agent, leaving) {
  const given = new ArgumentForm(tool.parameters, agent.variables ?? {});
  const result = h("div", { role: "status" });
  const button = h("button", { type: "submit" }, `Try ${tool.name}`);

  async function run(event) {
    event.preventDefault();
    if (button.ariaDisabled) return;
    const body = given.read();
    if (body === null || !(await agreed(tool, body.arguments))) return;
    button.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
    fill(result, h("p.soft", {}, "Running…"));
    try {
      const path = api(agent, `/tools/${encodeURIComponent(tool.name)}`);
      const reply = await request("POST", path, { body, signal: leaving });
      fill(result, shown(await reply.json()));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      fill(result, notice(problem));
    }
    button.removeAttribute("aria-disabled");
  }

  return h("form.stack", { onsubmit: run, noValidate: true, ariaLabel: `Try ${tool.name}` },
    given.element, h("div.row", {}, button), result);
}

/** Ask before a call that may change something; resolves with whether to make it. */
async function agreed(tool, given) {
  if (!tool.asks) return true;
  return confirm(`Run ${tool.name}?`, `${sentence(tool.call)}. It may change something there, with these arguments:`, {
    action: "Run", more: h("pre.text", { tabIndex: 0 }, JSON.stringify(given, null, 2)),
  });
}

const shown = (run) => h("div.stack", {},
  h("p", {}, toolBadge(run), h("span.soft", {}, " What a model would read:")),
  h("pre.text", { tabIndex: 0 }, run.output || "(empty)"));
