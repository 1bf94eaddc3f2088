// The frame of every page: the session, the menu, the switcher, banners, and the event stream.

import { get, inPath, onSignedOut, Problem } from "./api.js";
import { chosen, onChoice, settle } from "./choice.js";
import { isNullish } from "./data.js";
import { toast } from "./dialogs.js";
import { byId, fill, h } from "./dom.js";
import { millis } from "./format.js";
import { listen, onState, whoOf } from "./live.js";
import { notice, sentence } from "./marks.js";
import { showMissing } from "./notfound.js";
import { leaveTogether, signIn, signOut } from "./signin.js";
import { mountSwitcher } from "./switcher.js";

const TALKS = ["chat", "voice", "speech", "transcription"];
const LACKING = [...TALKS, "agent"];
const OF_ONE = [...TALKS, "agent", "edit"]; // pages about the agent in the address

/**
 * The user and the token of a request.
 * @typedef {object} Session
 * @property {string} user
 * @property {string} name the token's
 * @property {string} role viewer, editor or admin
 * @property {boolean} guarded false: the server has no tokens, and answers this machine only
 * @property {string} write_back off, files or git
 * @property {string} files the folder of the manifests
 * @property {string} version
 * @property {(owner: string) => boolean} canWrite
 */

/**
 * Start the page; resolves with the session once signed in and the agent is known.
 * @returns {Promise<Session>}
 */
export async function boot() {
  menu();
  let session = null;
  onSignedOut(async () => {
    await signIn();
    const now = await get("/api/session", { again: false });
    if (session !== null && whoOf(now) !== whoOf(session)) location.reload(); // the page of another user
  });
  session = await patiently(() => get("/api/session"));
  who(session);
  await listen(session);
  const missing = await patiently(() => settle(session.user));
  mountSwitcher();
  onChoice((agent, before, gone) => { if (gone) tellOfLoss(before, agent); });
  title();
  if (session.guarded) leaveTogether();
  onState(banners);
  tellWhatWasDone();
  if (LACKING.includes(document.body.dataset.page)) {
    onChoice((agent) => tellOfLack(agent, session));
    tellOfLack(chosen(), session);
  }
  if (missing !== null && OF_ONE.includes(document.body.dataset.page)) {
    onChoice(() => location.reload()); // to the agent that was chosen instead
    await showMissing(missing, session.files);
    await new Promise(() => {}); // the page itself does not begin
  }
  byId("content").inert = false;
  return { ...session, canWrite: (owner) => mayWrite(session, owner) };
}

/** Name the agent in the tab's title, on pages that talk to one. */
function title() {
  const page = document.title;
  const name = () => { document.title = `${chosen().name} · ${page}`; };
  if (!TALKS.includes(document.body.dataset.page)) return;
  onChoice(name);
  name();
}

/** Report that the page's agent was deleted or renamed elsewhere, and which one answers now. */
function tellOfLoss(before, agent) {
  const text = `${before.name} (${before.slug}) is gone: it was deleted or renamed. `
    + `This page goes on with ${agent.name} (${agent.slug}).`;
  const told = h("div.notice.warn.row.spread.gone", { role: "alert" }, h("p", {}, text),
    h("button.small.plain", { type: "button", onclick: () => { told.remove(); byId("main").focus(); } }, "Dismiss"));
  document.querySelector("main > .gone")?.remove();
  byId("main").prepend(told);
}

/** Report what the page's agent lacks to answer, and where to set it. */
function tellOfLack(agent, session) {
  document.querySelector("main > .setup")?.remove();
  if (!agent.lacks?.length) return;
  const edit = agent.path !== null && mayWrite(session, agent.user)
    ? h("a.button.small", { href: `/ui/edit?agent=${inPath(agent.slug)}` }, "Edit it")
    : null;
  byId("content").before(h("div.notice.warn.row.spread.setup", {},
    h("div.grow", {},
      h("p", {}, h("strong", {}, `${agent.name} needs setup before it can answer.`)),
      agent.lacks.map((one) => h("p.hint", {}, `${sentence(one)}.`))),
    edit));
}

/** Show the message that the previous page left. */
function tellWhatWasDone() {
  const told = sessionStorage.getItem("agentsd.toast");
  sessionStorage.removeItem("agentsd.toast");
  if (told) toast(told);
}

function mayWrite(session, owner) {
  return session.role === "admin" || (session.role === "editor" && owner === session.user);
}

/** Retry while the server starts or cannot be reached, and show which. */
async function patiently(work) {
  for (;;) {
    try {
      const found = await work();
      fill(byId("banners"));
      return found;
    } catch (problem) {
      if (!(problem instanceof Problem) || ![0, 503].includes(problem.status)) {
        fill(byId("banners"), notice(problem));
        throw problem;
      }
      say(problem.status === 0 ? "The server cannot be reached. Trying again…" : "The server is starting…", "warning");
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function menu() {
  const button = byId("menu-button");
  const pages = byId("menu");
  const toggle = (open) => {
    pages.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => toggle(!pages.classList.contains("open")));
  for (const one of [button, pages]) {
    one.addEventListener("keydown", (event) => { if (event.key === "Escape") { toggle(false); button.focus(); } });
  }
}

function who(session) {
  const theme = h("button.small", { type: "button", onclick: turn });
  function turn() {
    const dark = document.documentElement.dataset.theme === "dark";
    localStorage.setItem("agentsd.theme", dark ? "light" : "dark");
    document.dispatchEvent(new Event("agentsd:theme"));
    label();
  }
  function label() { theme.textContent = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark"; }
  label();
  theme.setAttribute("aria-label", "Switch between light and dark");
  const told = session.guarded
    ? h("div", {}, `${session.user}/${session.name}`, h("br"), session.role)
    : h("div", {}, "No sign-in: this server accepts this machine only.");
  fill(byId("who"),
    told,
    h("div.row", {},
      theme,
      session.guarded ? h("button.small", { type: "button", onclick: signOut }, "Sign out") : null),
    h("div", {}, `agentsd ${session.version}`));
}

function banners({ server, store, age, fromDisk }) {
  if (server === "away") {
    say("The server cannot be reached. This page shows the last known state, and retries.", "bad");
  } else if (store === "away") {
    const origin = fromDisk ? " An earlier run's snapshot is served." : "";
    say(`Postgres is away: agents answer as before, edits and history are not available.${origin}`, "warning", age);
  } else if (store === "read-only") {
    say("Postgres is read-only for now: agents answer as before, edits are not available.", "warning", age);
  } else fill(byId("banners"));
}

/** Show a banner. Screen readers announce its text once; the age is updated silently. */
function say(text, tone, age = null) {
  const since = isNullish(age) ? "" : ` Last heard of it ${millis(age * 1000)} ago.`;
  const shown = byId("banners").querySelector(".banner");
  if (shown?.firstChild.textContent === text) fill(shown.lastElementChild, since);
  else {
    const parts = [h("span", {}, text), h("span", { ariaLive: "off" }, since)];
    fill(byId("banners"), h("p.banner", { class: tone }, parts));
  }
}
