// Search, filters and order: kept equal in a form, the heads of the columns, and the address.

import { get } from "../api.js";
import { byId, debounced, h } from "../dom.js";
import { NAMES, address, asked } from "./query.js";

const TYPING_MS = 150;
const FALLING = new Set(["version", "updated_at", "status"]); // the highest, latest or worst is of most interest

/** @typedef {HTMLInputElement | HTMLSelectElement} Field */

/** Wire them; `changed(query)` at each change. Returns what shows a query. */
export function filters(changed) {
  const form = byId("filters", HTMLFormElement);
  const fieldOf = (name) => /** @type {Field} */ (form.elements[name]);
  const heads = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("th[data-sort]")]);
  let typed = null; // the field being edited: one history entry per word, not per letter

  function show(query) {
    for (const name of NAMES) place(fieldOf(name), query[name]);
    const sort = query.sort || "slug";
    for (const head of heads) {
      const order = sort.startsWith("-") ? "descending" : "ascending";
      if (head.dataset.sort === sort.replace(/^-/, "")) head.setAttribute("aria-sort", order);
      else head.removeAttribute("aria-sort");
    }
  }

  function go(query, step = true) {
    address(query, { step });
    show(query);
    changed(query);
  }

  const heard = debounced((name) => {
    const query = { ...asked(), [name]: fieldOf(name).value.trim() };
    if (query[name] === asked()[name]) return;
    go(query, typed !== name);
    typed = name;
  }, TYPING_MS);

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    const field = /** @type {Field} */ (target);
    if (field.type === "search") heard(field.name);
  });
  form.addEventListener("change", ({ target }) => {
    const field = /** @type {Field} */ (target);
    if (field.type === "search") return;
    typed = null;
    go({ ...asked(), [field.name]: field.value });
  });
  form.addEventListener("focusout", () => { typed = null; });
  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      go({ ...asked(), sort: turned(head.dataset.sort, asked().sort || "slug") });
    });
  }
  byId("clear").addEventListener("click", () => {
    go({ sort: asked().sort });
    fieldOf("q").focus();
  });
  addEventListener("popstate", () => { show(asked()); changed(asked(), true); });
  show(asked());
  return { show };
}

function turned(name, sort) {
  if (sort === name) return `-${name}`;
  if (sort === `-${name}`) return name;
  return FALLING.has(name) ? `-${name}` : name;
}

/**
 * Show a value in a field. A text from the address that is not among the choices is added to them: the server reports
 * what is wrong with it.
 * @param {Field} field
 */
function place(field, value = "") {
  if (field.type === "search" && field === document.activeElement && field.value.trim() === value) return;
  if (field instanceof HTMLSelectElement && ![...field.options].some((one) => one.value === value)) {
    field.append(h("option", { value }, value));
  }
  field.value = value;
}

/** Fill the choice of providers with those of the server. */
export async function fillProviders() {
  const kinds = await get("/api/providers");
  const names = [...new Set(Object.values(kinds).flatMap((vendors) => Object.keys(vendors)))].sort();
  const field = byId("f-provider", HTMLSelectElement);
  const known = new Set([...field.options].map((one) => one.value));
  field.append(...names.filter((name) => !known.has(name)).map((name) => h("option", { value: name }, name)));
}
