// Making elements. Texts always become text nodes: no script of the pages parses HTML.

import { isNullish } from "./data.js";

/**
 * The element of a tag's name.
 * @template {string} N
 * @typedef {N extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[N] : HTMLElement} Named
 */

/**
 * The element of a tag with classes, as `h` takes it.
 * @template {string} T
 * @typedef {T extends `${infer N}.${string}` ? Named<N> : Named<T>} Tagged
 */

/**
 * `h("a.button", { href, onclick, dataset: {…}, ariaLabel: … }, "text", node, [more], null)`
 * @template {string} T
 * @param {T} tag
 * @param {Record<string, any>} [props]
 * @param {...any} children
 * @returns {Tagged<T>}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = /** @type {Tagged<T>} */ (document.createElement(name));
  if (classes.length) element.classList.add(...classes);
  for (const [property, value] of Object.entries(props)) set(element, property, value);
  element.append(...nodes(children));
  return element;
}

// Addresses that run scripts; a manifest, a citation or an answer may try to bring one.
// A browser reads some variants as "//" (with a backslash or a tab), which lead to other hosts.
const SAFE = /^(https?:|mailto:|blob:|\/(?![/\\\t\n\r])|#|\?|[\w.~-]+(\/|$))/i;

function set(element, name, value) {
  if (isNullish(value)) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "class") element.classList.add(...value.split(" ").filter(Boolean));
  else if (name === "href" || name === "src") { if (SAFE.test(value)) element.setAttribute(name, value); }
  else if (name.startsWith("aria") && name !== "aria") {
    element.setAttribute(`aria-${name.slice(4).toLowerCase()}`, String(value));
  } else if (name in element && typeof value !== "string") element[name] = value;
  else if (name === "value" || name === "textContent") element[name] = value;
  else element.setAttribute(name === "htmlFor" ? "for" : name, value);
}

function nodes(children) {
  return children.flat(Infinity).filter((one) => !isNullish(one) && one !== false && one !== "")
    .map((one) => (one instanceof Node ? one : document.createTextNode(String(one))));
}

/**
 * Replace the content of an element. If the focus was in it, it moves to the new element of the same name.
 * @template {Element} E
 * @param {E} element
 * @param {...any} children
 * @returns {E}
 */
export function fill(element, ...children) {
  const at = element.contains(document.activeElement) ? document.activeElement : null;
  element.replaceChildren(...nodes(children));
  if (at && !at.isConnected) twinOf(at, element)?.focus({ preventScroll: true });
  return element;
}

const nameOf = (one) => one.getAttribute("aria-label") ?? one.textContent;

function twinOf(lost, place) {
  const name = nameOf(lost);
  return name ? [...place.querySelectorAll(lost.localName)].find((one) => nameOf(one) === name) : null;
}

/**
 * The element with that id, of that class; its absence is a fault of the template.
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @param {new () => E} [kind]
 * @returns {E}
 */
export function byId(id, kind = /** @type {any} */ (HTMLElement)) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

let counter = 0;

/** Return an id that is unique in the page. */
export function newId(prefix = "id") {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** Return a function that calls `work` once, `ms` after its last call. */
export function debounced(work, ms) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), ms);
  };
}
