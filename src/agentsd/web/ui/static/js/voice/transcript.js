// The transcript of a call, as it comes.

import { fill, h } from "../dom.js";

const KEPT = 400;

/** Its entries have the ids of the conversation's items. */
export class Transcript {
  constructor() {
    this.list = h("div.talk", { role: "log", ariaLabel: "Transcript", tabIndex: 0 });
    this.empty = h("p.empty", {}, "Nothing has been said yet.");
    this.element = h("div.talk-frame", {}, this.empty, this.list);
    this.entries = new Map();
  }

  /** Begin another call below what was said before; the oldest entries of many calls go. */
  another() {
    this.entries.clear();
    while (this.list.childElementCount > KEPT) this.list.firstElementChild.remove();
    if (this.list.childElementCount) this.note("a new call");
  }

  clear() {
    this.entries.clear();
    fill(this.list);
    this.empty.hidden = false;
  }

  /** Add a note about the call itself. */
  note(...content) { this.put(h("div.entry.note", {}, content)); }

  /** Return a name for a note. */
  code(name) { return h("code", {}, name); }

  /** Add an entry at the end, busy until `whole`. `role`: you or agent. */
  open(item, who, role) {
    if (this.entries.has(item)) return;
    const text = h("span.said", {}, role === "you" ? "…" : "");
    const element = h("div.entry", { class: role, ariaBusy: true }, h("span.speaker", {}, who), text);
    this.entries.set(item, { element, text, said: "" });
    this.put(element);
  }

  /** Append to an entry. */
  more(item, delta) {
    const entry = this.entries.get(item);
    if (!entry) return;
    entry.said += delta;
    this.show(entry, entry.said);
  }

  /** Complete an entry with its whole text; null keeps the text so far. */
  whole(item, said = null, otherwise = "") {
    const entry = this.entries.get(item);
    if (!entry) return;
    entry.said = said ?? entry.said;
    entry.element.setAttribute("aria-busy", "false");
    if (entry.said) this.show(entry, entry.said);
    else fill(entry.text, h("em.soft", {}, otherwise || "nothing"));
  }

  /** Mark all but `kept` as not heard; it stays readable. */
  unheard(item, kept) {
    const entry = this.entries.get(item);
    if (!entry || !entry.said || entry.said.trim() === kept) return;
    const rest = entry.said.startsWith(kept) ? entry.said.slice(kept.length) : entry.said;
    const before = entry.said.startsWith(kept) ? kept : "";
    fill(entry.text,
      before,
      h("s.unheard", { title: "interrupted: not heard" }, h("span.visually-hidden", {}, " (not heard:) "), rest));
  }

  show(entry, said) {
    const below = this.atEnd();
    fill(entry.text, said);
    if (below) this.list.scrollTop = this.list.scrollHeight;
  }

  put(element) {
    this.empty.hidden = true;
    const below = this.atEnd();
    this.list.append(element);
    if (below) this.list.scrollTop = this.list.scrollHeight;
  }

  atEnd() { return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40; }
}
