// The list of the last calls, and one of them in a dialog.

import { copyText } from "../clipboard.js";
import { confirm, dialog } from "../dialogs.js";
import { byId, fill, h } from "../dom.js";
import { full } from "../format.js";
import { when } from "../marks.js";
import { rowsOf } from "./bars.js";
import { clockOf, textOf } from "./calls.js";
import { keptTranscript } from "./transcript.js";

/** @import { Calls, KeptCall } from "./calls.js" */

/** Draws the list into `place`, and opens calls. */
export class CallHistory {
  state = "";

  /**
   * @param {HTMLElement} place
   * @param {Calls} calls
   */
  constructor(place, calls) {
    this.calls = calls;
    this.list = h("ul.calls", { role: "list" });
    this.foot = h("div.row.end", {},
      h("button.small.plain", { type: "button", onclick: () => this.clear() }, "Delete all"));
    fill(place, this.list, this.foot);
    addEventListener("storage", ({ key }) => { if (key === calls.key) this.draw(); });
    this.draw();
  }

  draw() {
    const all = this.calls.all();
    const state = JSON.stringify(all.map(({ id, seconds, end, turns }) => [id, seconds, end, turns.length]));
    if (state === this.state) return;
    this.state = state;
    this.foot.hidden = !all.length;
    fill(this.list, all.length ? all.map((one) => this.row(one)) : h("li.soft.small", {}, "None yet."));
  }

  row(one) {
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open(one.id);
    };
    const turns = `${one.turns.length} ${one.turns.length === 1 ? "turn" : "turns"}`;
    return h("li", {},
      h("a", { href: addressOf(one), onclick: open }, one.name,
        h("span.visually-hidden", {}, `, ${full(one.began / 1000)}`)),
      h("span.small.soft", {}, when(new Date(one.began).toISOString()), ` · ${clockOf(one.seconds)} · ${turns}`));
  }

  /** Show a call; its address is the page's as long as it is shown. Returns whether this browser has it. */
  async open(id) {
    const call = this.calls.find(id);
    if (!call) return false;
    setAddress(id);
    const rest = await dialog(`Call with ${call.name}`, (close) => this.content(call, close), { wide: true });
    setAddress(null);
    if (rest === "deleted") this.draw();
    return true;
  }

  /** @param {KeptCall} call */
  content(call, close) {
    const text = textOf(call);
    const copy = h("button", { type: "button", onclick: () => copyText(text, copy) }, "Copy");
    const link = h("button", { type: "button", onclick: () => copyText(addressOf(call), link) }, "Copy link");
    const remove = () => { this.calls.remove(call.id); close("deleted"); };
    return h("div.stack.kept-call", {},
      h("p.soft", {}, `${full(call.began / 1000)} · ${clockOf(call.seconds)} · ${call.end}`),
      keptTranscript(call.entries),
      call.turns.length ? [h("h3", {}, "Turns"), h("ol.turns", { role: "list" }, rowsOf(call.turns))] : null,
      h("p.help", {}, "Kept in this browser only: its link works here, and nowhere else."),
      h("div.row.end", {},
        h("button.danger", { type: "button", onclick: remove }, "Delete"),
        link,
        h("button", { type: "button", onclick: () => download(call, text) }, "Download"),
        copy,
        h("button.primary", { type: "button", onclick: () => close() }, "Close")));
  }

  async clear() {
    const told = "They are stored only here, so this cannot be undone.";
    if (!(await confirm("Delete all kept calls?", told, { action: "Delete all", danger: true }))) return;
    this.calls.clear();
    this.draw();
    byId("call").focus();
  }
}

/** Return the address of a call. */
function addressOf({ id, slug }) {
  const address = new URL(location.href);
  address.searchParams.set("agent", slug);
  address.searchParams.set("call", id);
  return address.href;
}

/** Return the id of the call in the page's address, or null. */
export const askedCall = () => new URLSearchParams(location.search).get("call");

/** Put the id of a call into the page's address, null: none. */
export function setAddress(id) {
  const address = new URL(location.href);
  if (id) address.searchParams.set("call", id);
  else address.searchParams.delete("call");
  history.replaceState(history.state, "", address);
}

function download(call, text) {
  const began = new Date(call.began).toISOString().slice(0, 16).replace(/[T:]/g, "-");
  const name = `call-${call.slug.replace(/[^\w.-]+/g, "-")}-${began}.txt`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
