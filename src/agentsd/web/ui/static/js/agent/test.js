// The test of an agent: one row for each provider, and for each of its checks.

import { request } from "../api.js";
import { chosen } from "../choice.js";
import { byId, fill, h } from "../dom.js";
import { count, millis } from "../format.js";
import { notice, sentence } from "../marks.js";
import { api } from "./paths.js";

/** Wire the button; returns a function that adapts it to an agent. */
export function tester() {
  const button = byId("test");
  const checks = byId("checks", HTMLInputElement);
  let running = null;
  let tested = null;

  async function run() {
    if (button.ariaDisabled) return;
    const agent = chosen();
    const mine = new AbortController();
    running?.abort();
    running = mine;
    tested = agent.id;
    button.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
    fill(byId("verdict"), h("p.soft", {}, "Asking its providers…"));
    try {
      const path = `${api(agent, "/test")}?checks=${checks.checked}`;
      const reply = await request("POST", path, { signal: mine.signal });
      fill(byId("verdict"), shown(await reply.json()));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      fill(byId("verdict"), notice(problem));
    }
    button.removeAttribute("aria-disabled");
  }

  button.addEventListener("click", run);
  return (agent) => {
    const has = agent.checks?.length ?? 0;
    byId("checks-field").hidden = has === 0;
    if (!has) checks.checked = false;
    fill(byId("checks-label"), has === 1 ? "Run its check, too" : `Run its ${count(has)} checks, too`);
    if (tested === null || tested === agent.id) return;
    running?.abort();
    tested = null;
    button.removeAttribute("aria-disabled");
    fill(byId("verdict"));
  };
}

function shown(verdict) {
  if (verdict.problem) return notice({ message: verdict.problem, hint: verdict.fix });
  const nothing = !verdict.providers.length && !verdict.checks.length;
  const lead = nothing ? "It has no provider to ask." : verdict.ok ? "All is well." : "Something is wrong.";
  return h("div.stack", {},
    h("p", {},
      h("span.badge", { class: verdict.ok ? "good" : "bad" }, verdict.ok ? "ok" : "failed"),
      ` ${lead} Version ${verdict.version}, ${millis(verdict.seconds * 1000)}.`),
    verdict.providers.length
      ? table("Providers", ["Provider", "Result", "Time", "What to do"], verdict.providers.map(provider))
      : null,
    verdict.checks.length ? table("Checks", ["Check", "Result", "Time", "Answer"], verdict.checks.map(check)) : null);
}

function table(title, heads, rows) {
  const cell = (content, index) => h("td", { dataset: index ? { label: heads[index] } : {} }, content);
  return h("table.cards", { ariaLabel: title },
    h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map(cell)))));
}

const mark = (ok) => h("span.badge", { class: ok ? "good" : "bad" }, ok ? "ok" : "failed");

const provider = (one) => [
  [h("code", {}, one.at), " ", one.provider],
  [mark(one.ok), " ", one.message, one.reason ? h("span.soft", {}, ` (${one.reason})`) : null],
  millis(one.seconds * 1000),
  one.fix ? sentence(one.fix) : h("span.soft", {}, "nothing"),
];

const check = (one) => [
  h("div", {}, one.title, one.title === one.say ? null : h("div.soft.small", {}, one.say)),
  [mark(one.ok), one.failures.map((why) => h("div", {}, sentence(why)))],
  millis(one.seconds * 1000),
  one.answer || h("span.soft", {}, "none"),
];
