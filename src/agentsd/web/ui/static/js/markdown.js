// Markdown from models: the server makes a tree of it, and this makes elements of the tree, by an allow-list.

import { send } from "./api.js";
import { copyText } from "./clipboard.js";
import { isNullish } from "./data.js";
import { fill, h } from "./dom.js";

const ALLOWED = {
  p: [], h3: [], h4: [], h5: [], h6: [], ul: [], li: [], blockquote: [], pre: [], code: [],
  em: [], strong: [], s: [], hr: [], br: [],
  table: [], thead: [], tbody: [], tr: [], ol: ["start"], a: ["href"], th: ["class"], td: ["class"],
};
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

/** An answer that is shown in `place`: plain text while it comes, Markdown once it is complete. */
export class AnswerText {
  plain = h("p.plain");

  /**
   * @param {HTMLElement} place
   * @param {(text: string) => any} mark as for `elements`
   * @param {() => void} [drawn] called after each change
   */
  constructor(place, mark, drawn = () => {}) {
    this.place = place;
    this.mark = mark;
    this.drawn = drawn;
  }

  /** Show the text so far, as it is. */
  update(text) {
    if (!this.plain.isConnected) this.place.append(this.plain);
    this.plain.textContent = text;
    this.drawn();
  }

  /** Show the complete text; resolves once it is rendered, or shown as it is where it cannot be. */
  async finish(text) {
    fill(this.place, elements(await this.parse(text), this.mark));
    this.drawn();
  }

  async parse(text) {
    if (text === "") return [];
    try {
      if (text.length <= MOST) return await parsed(text, { again: false });
    } catch { /* the server is away */ }
    return [{ tag: "pre", children: [text] }];
  }
}
