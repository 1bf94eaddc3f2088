// Markdown from models: the server makes a tree of it, and this makes elements of the tree, by an allow-list.

import { send } from "./api.js";
import { isNullish } from "./data.js";
import { h } from "./dom.js";
import { toast } from "./dialogs.js";

const ALLOWED = {
  p: [], h3: [], h4: [], h5: [], h6: [], ul: [], li: [], blockquote: [], pre: [], code: [],
  em: [], strong: [], s: [], hr: [], br: [],
  table: [], thead: [], tbody: [], tr: [], ol: ["start"], a: ["href"], th: ["class"], td: ["class"],
};
const EVERY_MS = 250;
const MOST = 65536; // the server's limit

/** The tree of a text. */
const parsed = async (text, options) => (await send("POST", "/api/markdown", { text }, options)).nodes;

/** Make elements of a tree. `mark(text)` may return nodes for a text that is neither code nor in a link. */
export function elements(nodes, mark = (text) => text) {
  return nodes.map((node) => (typeof node === "string" ? mark(node) : element(node, mark)));
}

function element({ tag, attrs = {}, children }, mark) {
  if (!Object.hasOwn(ALLOWED, tag)) return null;
  const props = {};
  for (const name of ALLOWED[tag]) if (!isNullish(attrs[name])) props[name] = attrs[name];
  if (tag === "a") Object.assign(props, { target: "_blank", rel: "noopener noreferrer nofollow" });
  const plain = tag === "a" || tag === "code" || tag === "pre";
  const made = h(tag, props, elements(children, plain ? undefined : mark));
  if (tag === "pre") return code(made);
  if (tag === "table") return h("div.table-wrap", { tabIndex: 0, role: "group", ariaLabel: "Table" }, made);
  return made;
}

function code(pre) {
  pre.tabIndex = 0;
  const button = h("button.small", { type: "button", onclick: () => copyText(pre.textContent, button) }, "Copy");
  button.setAttribute("aria-label", "Copy this code");
  return h("div.code", {}, pre, button);
}

/** Copy a text to the clipboard, and confirm it on the button. */
export async function copyText(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    toast("This browser does not let the page copy here. Select the text instead.", "bad");
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}

/**
 * A text that grows, shown in `place`: rendered as Markdown at most every 250 ms, the text since then as plain text.
 * One request at a time, so that none overtakes another. `mark` as for `elements`; `drawn()` after each change.
 */
export class Growing {
  text = "";
  shown = 0; // characters that are rendered
  /** @type {string[]} the rendered blocks, as JSON */
  blocks = [];
  /** @type {Promise<void> | null} */
  busy = null;
  ended = false;
  tail = h("span.tail");

  /**
   * @param {HTMLElement} place
   * @param {(text: string) => any} mark
   * @param {() => void} [drawn]
   */
  constructor(place, mark, drawn = () => {}) {
    this.place = place;
    this.mark = mark;
    this.drawn = drawn;
  }

  /** Take the whole text as it is now. */
  update(text) {
    this.text = text;
    this.showTail();
    this.busy ??= this.follow().finally(() => { this.busy = null; });
  }

  /** Take the complete text; resolves once all of it is rendered. */
  async finish(text) {
    this.text = text;
    this.ended = true;
    await this.busy;
    if (this.shown !== text.length) await this.render();
    this.tail.remove();
    this.drawn();
  }

  async follow() {
    while (!this.ended && this.shown !== this.text.length) {
      const begun = performance.now();
      await this.render();
      const rest = EVERY_MS - (performance.now() - begun);
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
    }
  }

  async render() {
    const text = this.text;
    let nodes;
    try {
      nodes = text.length > MOST ? asItIs(text) : await parsed(text, { again: false });
    } catch { // too long, or the server is away: show the plain text
      nodes = asItIs(text);
    }
    this.shown = text.length;
    this.replace(nodes);
    this.showTail();
  }

  /** Replace the blocks that changed only: a selection, an open passage and the scroll of a table stay. */
  replace(nodes) {
    const written = nodes.map((node) => JSON.stringify(node));
    let same = 0;
    while (same < written.length && written[same] === this.blocks[same]) same += 1;
    this.tail.remove();
    while (this.place.childNodes.length > same) this.place.lastChild.remove();
    this.place.append(...nodes.slice(same).map((node) => elements([node], this.mark)[0] ?? ""));
    this.blocks = written;
  }

  /** Show the text that is not rendered yet: after the last words, or below them where a new line has begun. */
  showTail() {
    const rest = this.text.slice(this.shown);
    const below = /^\n/.test(rest) || this.text[this.shown - 1] === "\n";
    this.tail.textContent = below ? rest.trimStart() : rest;
    if (rest && !this.tail.isConnected) (below ? this.place : lastBlock(this.place)).append(this.tail);
    this.drawn();
  }
}

const asItIs = (text) => [{ tag: "pre", children: [text] }];

function lastBlock(place) {
  const last = place.lastElementChild;
  return last !== null && last.matches("p, ul, ol, li, blockquote, div.code, pre, code, h3, h4, h5, h6")
    ? lastBlock(inner(last))
    : place;
}

const inner = (block) => (block.matches("div.code") ? block.querySelector("code") : block);
