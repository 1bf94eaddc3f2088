// The transcript of a call, as it comes.

import { fill, h } from "../dom.js";
import { toolBadge } from "../toolcall.js";

const KEPT = 400;

/**
 * One entry of a transcript, as it is kept.
 * @typedef {object} Entry
 * @property {string} role you, agent or note
 * @property {string} who
 * @property {number} at seconds after the call began
 * @property {string} text what was said, and heard
 * @property {string} unheard the rest of it
 * @property {string} mark in place of a text: why there is none
 */

/** Its entries have the ids of the conversation's items. */
export class Transcript {
  constructor() {
    this.list = h("div.talk", { role: "log", ariaLabel: "Transcript", tabIndex: 0 });
    this.empty = h("p.empty", {}, "Nothing has been said yet.");
    this.element = h("div.talk-frame", {}, this.empty, this.list);
    this.entries = new Map();
    /** @type {Entry[]} of this call */
    this.kept = [];
    this.began = 0;
  }

  /** Begin another call below what was said before; the oldest entries of many calls go. */
  another() {
    this.entries.clear();
    while (this.list.childElementCount > KEPT) this.list.firstElementChild.remove();
    if (this.list.childElementCount) this.note("a new call");
    this.kept = [];
    this.began = performance.now();
  }

  clear() {
    this.entries.clear();
    fill(this.list);
    this.empty.hidden = false;
  }

  /** Add a note about the call itself. */
  note(...content) {
    const element = h("div.entry.note", {}, content);
    this.keep({ role: "note", text: element.textContent });
    this.put(element);
  }

  /** Add what an agent had begun to say too early, so that nobody heard it. */
  discarded(text) {
    if (text) this.note("thrown away: ", h("s.unheard", { title: "the caller went on: nobody heard it" }, text));
  }

  /**
   * Add calls of tools: name, outcome and duration. One without an outcome is left to the client.
   * @param {{ name: string, outcome?: string, ms?: number }[]} calls
   */
  called(calls) {
    for (const { name, outcome = "client", ms } of calls) {
      this.note("tool ", this.code(name), " ", toolBadge({ outcome, milliseconds: ms }));
    }
  }

  /** Return a name for a note. */
  code(name) { return h("code", {}, name); }

  /** Add an entry at the end, busy until `whole`. `role`: you or agent. */
  open(item, who, role) {
    if (this.entries.has(item)) return;
    const text = h("span.said", {}, role === "you" ? "…" : "");
    const element = h("div.entry", { class: role, ariaBusy: true }, h("span.speaker", {}, who), text);
    this.entries.set(item, { element, text, kept: this.keep({ role, who }) });
    this.put(element);
  }

  /** Append to an entry. */
  more(item, delta) {
    const entry = this.entries.get(item);
    if (!entry) return;
    entry.kept.text += delta;
    this.show(entry, entry.kept.text);
  }

  /** Complete an entry with its whole text; null keeps the text so far. */
  whole(item, said = null, otherwise = "") {
    const entry = this.entries.get(item);
    if (!entry) return;
    const { kept } = entry;
    entry.element.setAttribute("aria-busy", "false");
    if (kept.unheard) return; // its end is known already
    kept.text = said ?? kept.text;
    kept.mark = kept.text ? "" : otherwise || "nothing";
    this.show(entry, contentOf(kept));
  }

  /** Mark all but `heard` as not heard; it stays readable. */
  unheard(item, heard) {
    const entry = this.entries.get(item);
    if (!entry) return;
    const { kept } = entry;
    const said = kept.text + kept.unheard;
    if (!said || said.trim() === heard) return;
    const split = said.startsWith(heard) ? heard.length : 0;
    Object.assign(kept, { text: said.slice(0, split), unheard: said.slice(split) });
    fill(entry.text, contentOf(kept));
  }

  show(entry, content) {
    const below = this.atEnd();
    fill(entry.text, content);
    if (below) this.list.scrollTop = this.list.scrollHeight;
  }

  put(element) {
    this.empty.hidden = true;
    const below = this.atEnd();
    this.list.append(element);
    if (below) this.list.scrollTop = this.list.scrollHeight;
  }

  keep({ role, who = "", text = "" }) {
    const at = Math.max(0, Math.round((performance.now() - this.began) / 1000));
    const entry = { role, who, at, text, unheard: "", mark: "" };
    this.kept.push(entry);
    return entry;
  }

  atEnd() { return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40; }
}

/** @param {Entry} entry */
function contentOf({ text, unheard, mark }) {
  if (mark) return h("em.soft", {}, mark);
  if (!unheard) return text;
  return [text, h("s.unheard", { title: "interrupted: not heard" },
    h("span.visually-hidden", {}, " (not heard:) "), unheard)];
}

/** Return the transcript of a call that is over. */
export function keptTranscript(entries) {
  return h("div.talk-frame", {}, h("div.talk", { role: "group", ariaLabel: "Transcript", tabIndex: 0 },
    entries.map((one) => (one.role === "note"
      ? h("div.entry.note", {}, one.text)
      : h("div.entry", { class: one.role }, h("span.speaker", {}, one.who), h("span.said", {}, contentOf(one)))))));
}
