// The dialog of a write: its diff before it is carried out, and a choice at a conflict.

import { get, getTagged, send } from "../api.js";
import { dialog } from "../dialogs.js";
import { diff } from "../diff.js";
import { fill, h, newId } from "../dom.js";
import { copyable, notice, sentence } from "../marks.js";
import { changesOf } from "./changes.js";
import { api } from "./paths.js";

/** @import { Agent } from "../choice.js" */

/**
 * A write to ask about.
 * @typedef {object} Wanted
 * @property {string} title
 * @property {string} [text]
 * @property {string} action the label of the button
 * @property {string} method
 * @property {string} [more] what follows the agent's address
 * @property {any} [body]
 * @property {string} [typed] a word that has to be typed
 * @property {boolean} [danger]
 * @property {object | null} [lock] why it can only be previewed, from `lockOf`
 * @property {string} [command] what to run instead, where there is a lock
 */

/**
 * Ask, and write. Resolves with the reply, or undefined.
 * @param {Agent} agent
 * @param {Wanted} wanted
 */
export function change(agent, wanted) {
  return dialog(wanted.title, (close) => new Asking(agent, wanted, close).form, { wide: true });
}

class Asking {
  /** @type {string | null} */
  etag = null;
  ready = false;
  busy = false;

  /**
   * @param {Agent} agent
   * @param {Wanted} wanted
   * @param {(reply?: any) => void} close
   */
  constructor(agent, wanted, close) {
    this.agent = agent;
    this.base = agent;
    this.wanted = wanted;
    this.close = close;
    this.lead = h("p.soft", { role: "status" });
    this.preview = h("div.preview.stack");
    this.errors = h("div.stack", { role: "alert" });
    this.button = h(`button.${wanted.danger ? "danger" : "primary"}`, {
      type: "submit", disabled: true, hidden: Boolean(wanted.lock),
    }, wanted.action);
    this.field = wanted.typed && !wanted.lock
      ? h("input", { id: newId("typed"), autocomplete: "off", spellcheck: "false", oninput: () => this.allow() })
      : null;
    this.form = h("form.stack", { onsubmit: (event) => { event.preventDefault(); this.write(); } },
      wanted.text ? h("p", {}, wanted.text) : null, this.lead, this.preview, this.typing(), this.errors,
      h("div.row.end", {},
        h("button", { type: "button", onclick: () => close() }, wanted.lock ? "Close" : "Cancel"),
        this.button));
    this.look();
  }

  typing() {
    return this.field && h("div.field", {},
      h("label", { htmlFor: this.field.id }, "Type ", h("code", {}, this.wanted.typed), " to confirm"),
      this.field);
  }

  allow() {
    this.button.disabled = this.busy || !this.ready || (this.field !== null && this.field.value !== this.wanted.typed);
  }

  /** Read the agent, and preview the write. */
  async look() {
    this.ready = false;
    this.allow();
    fill(this.errors);
    this.say("Loading the preview…");
    try {
      const { data, etag } = await getTagged(api(this.agent));
      Object.assign(this, { base: data, etag });
      const told = await this.send({ dry_run: "true" });
      this.say(leadOf(told), previewed(told, this.wanted));
      this.ready = told.changed;
    } catch (problem) {
      this.say("");
      this.failed(problem);
    }
    this.allow();
  }

  say(lead, ...preview) {
    fill(this.lead, lead);
    fill(this.preview, preview);
  }

  async write() {
    if (this.button.disabled) return;
    this.busy = true;
    this.allow();
    fill(this.errors);
    try {
      this.close(await this.send({}));
    } catch (problem) {
      this.failed(problem);
    }
    this.busy = false;
    this.allow();
    if (document.activeElement === document.body) this.button.focus(); // a disabled button loses it
  }

  send(query) {
    const path = api(this.agent, this.wanted.more ?? "");
    const said = new URLSearchParams(query);
    return send(this.wanted.method, said.size ? `${path}?${said}` : path, this.wanted.body, { etag: this.etag });
  }

  failed(problem) {
    if (problem.status === 412) return this.conflict();
    const found = problem.violations.slice(problem.violations.length > 1 ? 0 : 1);
    const where = problem.violations.map((one) => h("li", {},
      h("code", {}, `${one.path}:${one.line}:${one.column}`), " ", found.length ? sentence(one.message) : null));
    return fill(this.errors,
      notice(problem), where.length ? h("ul.violations", {}, where) : null, this.again("Try again"));
  }

  again(label) {
    return h("div.row", {}, h("button.small", { type: "button", onclick: () => this.look() }, label));
  }

  /** Report that the file changed since it was read, and offer to look at it or to try again. */
  conflict() {
    this.ready = false;
    this.say("");
    const now = h("div.stack");
    const see = h("button.small", { type: "button", onclick: () => this.newer(now) }, "Show the current version");
    const again = h("button.small", { type: "button", onclick: () => this.look() }, "Try again on it");
    fill(this.errors,
      h("div.notice.warn", {},
        h("p", {}, "This agent was changed after it was read here. Nothing was written."),
        h("p.hint", {}, "Show the current version, try again on it, or cancel.")),
      h("div.row", {}, see, again), now);
    see.focus();
  }

  async newer(place) {
    try {
      const { items } = await get(`${api(this.agent, "/revisions")}?diff=true&limit=20`);
      const { conditions } = await get("/api/sync");
      const condition = conditions?.find((one) => one.path === this.agent.path && one.type === "Invalid");
      const later = items.filter((one) => one.version > this.base.version);
      const none = h("p.soft", {},
        condition
          ? `The newer file is not valid and must be fixed first: ${condition.message}.`
          : "The server has not loaded the newer file yet: try again in a moment.");
      fill(place,
        later.length
          ? later.map((one) => h("div", {},
            h("p", {}, h("strong", {}, `Version ${one.version}`), ` (${one.operation})`),
            changesOf(one.changes)))
          : none);
    } catch (problem) {
      fill(place, notice(problem));
    }
  }
}

function leadOf(told) {
  if (!told.changed) return "Nothing would change: the file already contains this.";
  const where = told.branch ? ` on the branch ${told.branch}, to be merged` : "";
  const does = told.text ? "Writes" : "Removes";
  return {
    off: told.text
      ? `Make this change in ${told.file}; what to run is below:`
      : `Remove ${told.file}; the command is below:`,
    files: `${does} ${told.file}; no commit is made:`,
    git: `${does} ${told.file} and commits that${where}:`,
  }[told.mode];
}

/**
 * The nodes of a preview.
 * @param {any} told the reply to a dry run
 * @param {Wanted} wanted
 */
function previewed(told, { lock, command }) {
  if (!told.changed) return null;
  const commit = told.commit_message?.split("\n")[0];
  return [
    diff(told.diff, { whole: true }),
    commit && told.mode === "git" ? h("p.small", {}, "Commit: ", h("code", {}, commit)) : null,
    lock && command ? copyable(command) : null,
  ];
}
