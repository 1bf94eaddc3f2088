// What the agent did: turns over time, times to the first token and sound, the last errors with the field to edit.

import { get, inPath } from "../api.js";
import { chosen } from "../choice.js";
import { byId, debounced, fill, h } from "../dom.js";
import { count, full, millis } from "../format.js";
import { on } from "../live.js";
import { notice, sentence, when } from "../marks.js";
import { barPlot } from "../plot.js";
import { latest } from "./latest.js";
import { api } from "./paths.js";

const QUIET_MS = 500;
const STEADY_MS = 60_000;

/** Keep the section current; returns a function that shows an agent at once. */
export function activity(session) {
  const ask = latest();
  const ranges = [...byId("range").querySelectorAll("button")];
  const range = () => ranges.find((one) => one.ariaPressed === "true");
  let timer;
  function look() {
    clearTimeout(timer);
    const agent = chosen();
    ask(() => get(`${api(agent, "/activity")}?range=${range().value}`), (found) => {
      fill(byId("activity"), drawn(found, agent, session));
      timer = setTimeout(() => (document.hidden ? null : look()), STEADY_MS);
    }, (problem) => fill(byId("activity"), notice(problem)));
  }
  for (const one of ranges) {
    one.addEventListener("click", () => {
      for (const other of ranges) other.ariaPressed = String(other === one);
      look();
    });
  }
  const soon = debounced(look, QUIET_MS);
  on("condition", ({ slugs }) => { if (slugs.includes(chosen().slug)) soon(); });
  on("resync", soon);
  return look;
}

function drawn(found, agent, session) {
  return [
    found.complete ? null : h("p.soft.small", {}, "Postgres is away: only this server's newest turns are shown."),
    h("dl.facts.two", {},
      fact("Turns", count(found.turns)),
      fact("Failed", found.failed ? `${count(found.failed)}: ${failures(found.failures)}` : "none"),
      fact("First token", times(found.first_token)),
      fact("First sound", times(found.first_sound)),
      fact("Last test", tested(found.last_test))),
    barPlot(found.points.map((point) => ({
      label: `${full(point.at)}: ${count(point.turns)} turns, ${count(point.failed)} failed`,
      parts: [
        { value: point.turns - point.failed, tone: "bar-good" },
        { value: point.failed, tone: "bar-bad" },
      ],
    })), `Turns: ${count(found.turns)}, of which ${count(found.failed)} failed`),
    found.last_errors.length ? errors(found.last_errors, agent, session) : null,
  ];
}

const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
const failures = (found) => Object.entries(found).map(([name, number]) => `${count(number)} × ${name}`).join(", ");

function times({ p50_ms: half, p95_ms: most }) {
  return half === null ? h("span.soft", {}, "none yet") : `${millis(half)}, 95 % within ${millis(most)}`;
}

function tested(test) {
  if (test === null) return h("span.soft", {}, "never");
  return [
    h("span.badge", { class: test.ok ? "good" : "bad" }, test.ok ? "ok" : "failed"), " ", when(test.at),
    test.ok ? null : h("div.small", {}, sentence(test.message)),
  ];
}

function errors(found, agent, session) {
  const edits = session.canWrite(agent.user) && session.write_back !== "off" && agent.path !== null;
  return [
    h("h3", {}, "Last errors"),
    h("ul.plain-list.stack", { class: "errors" }, found.map((one) => h("li", {},
      h("div", {}, when(one.at), " ", sentence(one.message || one.error),
        h("span.soft.small", {}, ` (version ${one.version})`)),
      one.fix ? h("div.small", {}, sentence(one.fix)) : null,
      one.field ? h("div.small", {}, edits
        ? h("a", { href: `/ui/edit?agent=${inPath(agent.slug)}` }, "Edit ", h("code", {}, one.field))
        : h("code", {}, one.field)) : null))),
  ];
}
