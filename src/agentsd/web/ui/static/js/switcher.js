// The agent switcher: a button, and a panel with a search field over a list (the ARIA combobox pattern).

import { get } from "./api.js";
import { chosen, choose, onChoice } from "./choice.js";
import { byId, debounced, fill, h } from "./dom.js";
import { count } from "./format.js";
import { onAgents } from "./live.js";
import { statusBadge, statusTone } from "./marks.js";
import { toast } from "./dialogs.js";

const SHOWN = 50;
const TYPING_MS = 60;

/** Put the switcher into the page; it shows the choice of `choice.js`. */
export function mountSwitcher() {
  const place = byId("switcher");
  const state = { items: [], active: 0, total: 0, asked: 0, from: null, typed: null, wanted: false, pressed: false };
  const name = h("span.name");
  const dot = h("span.dot");
  const button = h("button.switcher-button", {
    type: "button", ariaHaspopup: "listbox", ariaExpanded: "false", ariaControls: "agents-panel",
    onclick: () => (panel.hidden ? open() : close()),
  }, dot, name, h("span", { ariaHidden: "true" }, "▾"));
  const list = h("ul.switcher-list", {
    id: "agents-list", role: "listbox", ariaLabel: "Agents", onpointerdown: () => { state.pressed = true; },
  });
  const note = h("div.switcher-count", { role: "status" });
  const field = h("input", {
    type: "text", role: "combobox", ariaLabel: "Find an agent", ariaExpanded: "true", ariaControls: "agents-list",
    ariaAutocomplete: "list",
    placeholder: "Find an agent by name or path", autocomplete: "off", spellcheck: "false",
    oninput: () => { state.wanted = false; soon(); }, onkeydown: keys,
  });
  const soon = debounced(() => load(), TYPING_MS);
  const panel = h("div.switcher-panel", { id: "agents-panel", hidden: true }, field, list, note);
  const told = h("span.visually-hidden", { role: "status" });
  fill(place, button, panel, told);

  place.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !place.contains(/** @type {Node} */ (event.relatedTarget))) close(false);
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!place.contains(/** @type {Node} */ (target))) close(false);
  });
  // An option that is replaced between press and release gets no click: the list is drawn after it.
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => {
      if (state.pressed) setTimeout(() => { state.pressed = false; if (!panel.hidden) draw(); });
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) open();
    }
  });
  onChoice((agent, before) => {
    show();
    if (agent.id !== before.id) fill(told, `Agent: ${agent.name}`);
  });
  onAgents(() => { if (!panel.hidden) load(); });
  show();

  function show() {
    const agent = chosen();
    fill(name, agent.name);
    dot.className = `dot ${statusTone(agent.status)}`;
    const why = agent.status.word === "Ready" ? "" : `, ${agent.status.word}`;
    button.setAttribute("aria-label", `Agent: ${agent.name} (${agent.slug}${why}). Switch`);
    button.title = `${agent.slug}, version ${agent.version}`;
  }

  function open() {
    if (panel.hidden) state.from = document.activeElement;
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    field.value = "";
    field.focus();
    load();
  }

  function close(back = true) {
    if (panel.hidden) return;
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (back) (state.from?.isConnected && state.from !== document.body ? state.from : button).focus();
  }

  async function load() {
    const asked = (state.asked += 1);
    const query = new URLSearchParams({ limit: String(SHOWN), view: "summary" });
    const typed = field.value.trim();
    if (typed) query.set("q", typed);
    try {
      const found = await get(`/api/agents?${query}`);
      if (asked !== state.asked) return; // a later one is under way
      Object.assign(state, { items: found.items, total: found.total, active: 0, typed });
      const at = found.items.findIndex((one) => one.id === chosen().id);
      if (at > 0 && !field.value) state.active = at;
      draw();
      if (state.wanted) enter();
    } catch (problem) {
      fill(note, problem.message);
    }
  }

  function draw() {
    if (state.pressed) return;
    fill(list, state.items.map((one, index) => option(one, index)));
    const more = state.total > state.items.length
      ? `${count(state.items.length)} of ${count(state.total)}: type to narrow`
      : "";
    fill(note, state.items.length ? more : "no agent with that in its name or path");
    mark();
  }

  function option(one, index) {
    return h("li", {
      id: `agents-option-${index}`, role: "option", ariaSelected: "false", dataset: { slug: one.slug },
      onclick: () => take(one), onpointermove: () => { if (state.active !== index) { state.active = index; mark(); } },
    },
    h("span.what", {}, h("span", {}, one.name), h("span.slug", {}, one.slug)),
    one.is_default ? h("span.badge.accent", {}, "default") : null,
    one.status.word === "Ready" ? null : statusBadge(one.status));
  }

  function mark() {
    [...list.children].forEach((one, index) => one.setAttribute("aria-selected", String(index === state.active)));
    const active = list.children[state.active];
    if (active) field.setAttribute("aria-activedescendant", active.id);
    else field.removeAttribute("aria-activedescendant");
    active?.scrollIntoView({ block: "nearest" });
  }

  function keys(event) {
    const last = state.items.length - 1;
    const moves = {
      ArrowDown: state.active + 1, ArrowUp: state.active - 1, Home: 0, End: last, PageDown: state.active + 8,
      PageUp: state.active - 8,
    };
    if (event.key === "Escape") { event.stopPropagation(); close(); }
    else if (event.key === "Enter") { event.preventDefault(); enter(); }
    else if (event.key in moves && last >= 0) {
      event.preventDefault();
      state.active = Math.min(last, Math.max(0, moves[event.key]));
      mark();
    }
  }

  /** Choose the marked agent; if the list is older than what was typed, the first one of the next list. */
  function enter() {
    state.wanted = state.typed !== field.value.trim();
    if (!state.wanted && state.items[state.active]) take(state.items[state.active]);
  }

  async function take(one) {
    close();
    try { await choose(one.slug); } catch (problem) { toast(problem.message, "bad"); }
  }
}
