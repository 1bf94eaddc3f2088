// What was said, by whom, as it comes.

import { fill, h } from "../dom.js";

/** Its entries are by the id of the conversation's item. */
export class Transcript {
  constructor() {
    this.list = h("div.talk", { role: "log", ariaLabel: "Transcript", tabIndex: 0 });
    this.empty = h("p.empty", {}, "Nothing was said yet.");
    this.element = h("div.talk-frame", {}, this.empty, this.list);
    this.entries = new Map();
  }

  clear() {
    this.entries.clear();
    fill(this.list);
    this.empty.hidden = false;
  }

  /** Something about the call itself. */
  note(...content) { this.put(h("div.entry.note", {}, content)); }

  /** A name that stands in a note. */
  code(name) { return h("code", {}, name); }

  /** A new entry, at the end, and busy until `whole`. `role`: you or agent. */
  open(item, who, role) {
    if (this.entries.has(item)) return;
    const text = h("span.said", {}, role === "you" ? "…" : "");
    const element = h("div.entry", { class: role, ariaBusy: true }, h("span.speaker", {}, who), text);
    this.entries.set(item, { element, text, said: "" });
    this.put(element);
  }

  /** More of it. */
  more(item, delta) {
    const entry = this.entries.get(item);
    if (!entry) return;
    entry.said += delta;
    this.show(entry, entry.said);
  }

  /** All of it; with `said` null it is what came. */
  whole(item, said = null, otherwise = "") {
    const entry = this.entries.get(item);
    if (!entry) return;
    entry.said = said ?? entry.said;
    entry.element.setAttribute("aria-busy", "false");
    if (entry.said) this.show(entry, entry.said);
    else fill(entry.text, h("em.soft", {}, otherwise || "nothing"));
  }

  /** Only `kept` of it was heard; the rest stays readable. */
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
