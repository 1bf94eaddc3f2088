// The texts beside a manifest, its prompt and its knowledge: shown, and edited with the diff before they are written.

import { getAll, getTagged, Problem, send } from "../api.js";
import { dialog } from "../dialogs.js";
import { diff } from "../diff.js";
import { byId, fill, h, newId } from "../dom.js";
import { notice } from "../marks.js";
import { outcomeOf, showOutcome } from "../outcome.js";
import { lockOf } from "./locked.js";
import { api, onDisk } from "./paths.js";

/** @import { Agent } from "../choice.js" */

/** Return a button that shows the file of this name, as the manifest gives it. */
export function fileButton(agent, session, name) {
  const locked = lockOf(session, agent) !== null;
  const label = locked ? "Show the text" : "Show and edit";
  return h("button.small", {
    type: "button", ariaLabel: `${label}: ${name}`, onclick: () => show(agent, session, name, locked),
  }, label);
}

async function show(agent, session, name, locked) {
  const reply = await dialog(onDisk(session.files, name), (close) => {
    const place = h("div.stack", {}, h("p.soft", { role: "status" }, "Loading the text…"));
    load(agent, (path) => isNamed(agent, name, path)).then(
      (file) => fill(place, locked ? reader(file, close) : new Editing(agent, file, close).form),
      (problem) => fill(place, notice(problem), closing(close)),
    );
    return place;
  }, { wide: true });
  if (reply) showOutcome(byId("outcome"), outcomeOf(`${reply.write_back.path} is written`, reply));
}

const closing = (close) => h("div.row.end", {}, h("button", { type: "button", onclick: () => close() }, "Close"));

/** Whether a path is what a manifest calls `name`: relative to the owner's folder, or to the top for files there. */
function isNamed({ path, user }, name, found) {
  const own = path.replace(/^\.\.\/envs\/[^/]+\//, ""); // an overlay's file is called as the one below it
  return found === (own.includes("/") ? `${user}/${name}` : name);
}

/** Read the file whose path `fits`, with its text. */
async function load(agent, fits) {
  const { items } = await getAll(api(agent, "/files"));
  const file = items.find(({ path }) => fits(path));
  if (!file) throw new Problem(404, { detail: "the file is not there any more", hint: "load the page again" });
  const { data, etag } = await getTagged(pathOf(agent, file));
  return { ...data, etag };
}

const pathOf = (agent, { path }) => api(agent, `/files/${path.split("/").map(encodeURIComponent).join("/")}`);

const reader = (file, close) => [h("pre.text", { tabIndex: 0, ariaLabel: file.path }, file.text), closing(close)];

/** A form with the text, then the diff of what will be written. */
class Editing {
  /**
   * @param {Agent} agent
   * @param {any} file
   * @param {(reply?: any) => void} close
   */
  constructor(agent, file, close) {
    this.agent = agent;
    this.file = file;
    this.close = close;
    this.leaving = false;
    this.path = pathOf(agent, file);
    this.seen = null; // the text whose diff is shown
    const id = newId("text");
    this.field = h("textarea.mono", {
      id, rows: "16", spellcheck: "true", value: file.text, oninput: () => this.changed(),
    });
    this.base = this.field.value; // a browser rewrites line ends
    this.preview = h("div.preview");
    this.errors = h("div");
    this.button = h("button.primary", { type: "submit", disabled: true }, "Review");
    this.form = h("form.stack", { onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      h("div.field", {},
        h("label", { htmlFor: id }, file.role === "prompt" ? "System prompt" : "Knowledge"), this.field,
        h("p.help", {}, "Every agent that names this file has the new text.")),
      this.preview, this.errors,
      h("div.row.end", {}, h("button", { type: "button", onclick: () => this.leave() }, "Cancel"), this.button));
  }

  changed() {
    this.seen = null;
    fill(this.preview);
    fill(this.errors);
    fill(this.button, "Review");
    this.button.disabled = this.field.value === this.base;
  }

  leave() {
    if (this.field.value === this.base || this.leaving) return this.close();
    this.leaving = true;
    return fill(this.errors, notice({ message: "the changes are not saved", hint: "Cancel again drops them" }, "warn"));
  }

  async submit() {
    if (this.button.disabled) return;
    const text = this.file.text.includes("\r\n") ? this.field.value.replaceAll("\n", "\r\n") : this.field.value;
    this.button.disabled = true;
    fill(this.errors);
    try {
      const body = { text };
      if (this.seen === text) return this.close(await send("PUT", this.path, body, { etag: this.file.etag }));
      const told = await send("PUT", `${this.path}?dry_run=true`, body, { etag: this.file.etag });
      this.seen = text;
      fill(this.preview, diff(told.diff, { whole: true }));
      fill(this.button, "Save");
    } catch (problem) {
      fill(this.errors, notice(problem), problem.status === 412 ? this.newer() : null);
    }
    this.button.disabled = false;
    this.button.focus();
    return undefined;
  }

  /** Offer the diff to the file as it is now; what was typed stays. */
  newer() {
    const read = async () => {
      try {
        this.file = { ...this.file, etag: (await load(this.agent, (path) => path === this.file.path)).etag };
        this.seen = null;
        await this.submit();
      } catch (problem) { fill(this.errors, notice(problem)); }
    };
    return h("div.row", {}, h("button.small", { type: "button", onclick: read }, "Review against the newer file"));
  }
}
