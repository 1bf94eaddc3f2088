// One agent in a form: created, edited or duplicated.

import { get, getTagged, inPath } from "../api.js";
import { chosen, choose, onChoice } from "../choice.js";
import { isNullish } from "../data.js";
import { byId, fill, h } from "../dom.js";
import { editor } from "../form/editor.js";
import { identity } from "../form/identity.js";
import { flatten, forCopy } from "../form/patch.js";
import { boot } from "../shell.js";
import { notice } from "../marks.js";

const TOLD = "agentsd.toast";

const page = byId("page");
const asked = new URLSearchParams(location.search);
let current = null;

const session = await boot();
try { await begin(); } catch (problem) { fill(page, notice(problem)); }

async function begin() {
  const [schema, providers] = await Promise.all([get("/api/schema"), get("/api/providers")]);
  const catalog = { schema, providers };
  addEventListener("beforeunload", (event) => { if (current?.dirty()) event.preventDefault(); });
  if (asked.has("new")) return mount(catalog, newTask("new", {}, session.user), "New agent");
  if (asked.has("copy")) return copy(catalog, asked.get("copy"));
  onChoice((agent, before, gone) => {
    // the form itself reports the loss of its agent
    if (agent.id !== current?.id && !(gone && current?.dirty())) moved(catalog, agent);
  });
  return edit(catalog, asked.get("agent") ?? chosen().slug);
}

async function edit(catalog, slug) {
  const { data, etag } = await getTagged(`/api/agents/${inPath(slug)}`);
  if (data.source === "built-in") return builtIn(data);
  mount(catalog, { kind: "edit", view: data, etag, back: pageOf(data.slug) }, `Edit ${data.name}`, data.id);
}

async function copy(catalog, slug) {
  const found = await get(`/api/agents/${inPath(slug)}`);
  const owner = session.canWrite(found.user) && found.user ? found.user : session.user;
  const task = { ...newTask("copy", forCopy(flatten(found)), owner), back: pageOf(found.slug) };
  mount(catalog, task, `Duplicate ${found.name}`);
}

function newTask(kind, values, owner) {
  return {
    kind, values, back: "/ui/agents", identity: identity(session, { owner, onchange: () => current?.touched() }),
  };
}

function mount(catalog, task, title, id = null) {
  current?.end();
  document.querySelector("h1").textContent = title;
  document.title = `${title} · agentsd`;
  current = { ...editor(catalog, session, task, done), id };
  fill(page, current.element);
}

/** Follow the switcher to another agent; with unsaved changes, ask first. */
function moved(catalog, agent) {
  if (!current?.dirty()) { edit(catalog, agent.slug).catch((problem) => fill(page, notice(problem))); return; }
  const stay = h("button.small", { type: "button", onclick: () => { told.remove(); back(); } }, "Go back to it");
  const go = h("button.small.danger", { type: "button", onclick: () => { told.remove(); edit(catalog, agent.slug); } },
    `Drop the changes and edit ${agent.name}`);
  const told = h("div.notice.warn", { role: "alert" },
    h("p", {}, `${agent.name} is selected now, and this form still contains unsaved changes of another agent.`),
    h("div.row", {}, stay, go));
  page.prepend(told);
  told.scrollIntoView({ block: "center" });
}

function back() { return choose(current.slug()).catch(() => {}); }

function builtIn(agent) {
  const message = `${agent.slug} is built in: it has no file to edit`;
  fill(page, h("div.stack", {},
    notice({ message, hint: "duplicate it to make your own" }, "warn"),
    h("div.row", {},
      h("a.button.primary", { href: `/ui/edit?copy=${inPath(agent.slug)}` }, "Duplicate it"),
      h("a.button", { href: pageOf(agent.slug) }, "Back"))));
}

function done(reply, outcome) {
  if (isNullish(reply.version)) { // on a branch: there is nothing to see of it yet
    const shown = h("div.stack", { tabIndex: -1 },
      h("p.notice.good", { role: "status" }, outcome),
      h("div.row", {}, h("a.button", { href: "/ui/agents" }, "All agents")));
    fill(page, shown);
    shown.focus();
    return;
  }
  try { sessionStorage.setItem(TOLD, outcome); } catch { /* storage is unavailable */ }
  location.assign(pageOf(reply.slug));
}

function pageOf(slug) { return `/ui/agent?agent=${inPath(slug)}`; }
