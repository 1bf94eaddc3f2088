// The replicas as a picture that moves while a sync goes through the fleet, and as a table.
//
// The newest version is at the left. When there is a newer one, every replica falls one column behind,
// and comes back as soon as it serves that.

import { inPath } from "../api.js";
import { without } from "../data.js";
import { byId, fill, h } from "../dom.js";
import { count } from "../format.js";
import { when } from "../marks.js";
import { isSilent, many, nameOf, onChange, silence } from "./standing.js";

const COLUMNS = 5; // a replica that is further behind is drawn at the last one
const HOLD_MS = 700; // how long a replica is drawn behind, however quick it catches up
const SHOWN = 30;

/** Draws `#fleet`. */
export function mountFleet() {
  const axis = h("div.axis");
  const lanes = h("div.lanes");
  const picture = h("div.fleet", { ariaHidden: "true" }, h("div.lane.scale", {}, h("span.lane-name"), axis), lanes);
  const rows = h("tbody");
  const note = h("p.soft");
  const table = tableOf(rows);
  fill(byId("fleet"), picture, note, table);
  const drawAxis = onChange((head) => fill(axis, ticks(head)));
  const drawRows = onChange((told, standing) => fill(rows, told.map((one, index) => rowOf(one, index, standing))));
  const mover = newMover(lanes);
  return (standing) => {
    const { data, head, now } = standing;
    const known = data.replicas !== null;
    picture.hidden = table.hidden = !known || !data.replicas.length;
    fill(note,
      known ? emptyNote(data) : "The replicas are unknown until Postgres is back. This one is running.");
    if (!known) return;
    drawAxis(head);
    mover(data, head, now);
    drawRows(data.replicas.map((one) => [without(one, "seen_at"), isSilent(one, now), head]), standing);
    /** @type {NodeListOf<HTMLElement>} */
    const cells = rows.querySelectorAll("[data-seen]");
    for (const cell of cells) cell.textContent = heard(cell.dataset.seen, data, now);
  };
}

function emptyNote(data) {
  if (!data.replicas.length) return "No heartbeat of any replica in the last minute.";
  return data.replicas.length > SHOWN
    ? `The picture shows ${SHOWN} of ${count(data.replicas.length)} replicas; the table all.`
    : "";
}

function ticks(head) {
  const versions = Array.from({ length: COLUMNS + 1 }, (_, behind) => head - behind);
  return versions.map((version, behind) => {
    const text = version < 1
      ? ""
      : behind === 0 ? `version ${version}` : behind === COLUMNS ? "older" : String(version);
    return at(h("span.tick", { class: behind === 0 ? "newest" : "" }, text), behind);
  });
}

function at(element, behind) {
  element.style.setProperty("--at", String(Math.min(Math.max(behind, 0), COLUMNS) / COLUMNS));
  return element;
}

/** Keeps one element per replica, so that a change of its place is a movement. */
function newMover(lanes) {
  const known = new Map();
  let head = null;
  let held = 0;
  let timer = 0;
  return function move(data, newest, now) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (head !== null && newest > head && !still) {
      held = Date.now() + HOLD_MS;
      for (const one of known.values()) fall(one, newest);
    }
    head = newest;
    place(lanes, known, data, newest, now);
    clearTimeout(timer);
    const settle = () => { for (const one of known.values()) stand(one, newest); };
    const rest = held - Date.now();
    if (rest > 0) timer = setTimeout(settle, rest);
    else settle();
  };
}

function place(lanes, known, data, head, now) {
  const shown = data.replicas.slice(0, SHOWN);
  const ids = new Set(shown.map((one) => one.id));
  for (const [id, one] of known) if (!ids.has(id)) { one.lane.remove(); known.delete(id); }
  shown.forEach((replica, index) => {
    const one = known.get(replica.id) ?? newLane(lanes, known, replica, head);
    Object.assign(one, { version: replica.version });
    const silent = isSilent(replica, now);
    const mine = replica.id === data.replica;
    fill(one.name, nameOf(replica, index), mine ? h("span.badge.accent", {}, "this one") : null);
    one.lane.classList.toggle("silent", silent);
    one.lane.classList.toggle("degraded", replica.degraded.length > 0);
    one.lane.dataset.version = String(replica.version);
  });
}

function newLane(lanes, known, replica, head) {
  const name = h("span.lane-name");
  const runner = at(h("span.runner"), head - replica.version);
  const lane = h("div.lane", { dataset: { replica: replica.id } }, name, h("div.track", {}, runner));
  const one = { lane, name, runner, version: replica.version, shown: replica.version };
  lanes.append(lane);
  known.set(replica.id, one);
  return one;
}

function fall(one, head) {
  at(one.runner, head - one.shown);
  one.lane.classList.add("behind");
}

function stand(one, head) {
  one.shown = one.version;
  at(one.runner, head - one.version);
  one.runner.textContent = String(one.version);
  one.lane.classList.toggle("behind", one.version < head);
}

function tableOf(rows) {
  const names = ["Replica", "Serves", "Agents not ready", "Last heartbeat", "Running since"];
  return h("table.cards.replicas", {}, h("caption.visually-hidden", {}, "Replicas"),
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))), rows);
}

function rowOf([replica, silent, head], index, { data }) {
  const mine = replica.id === data.replica;
  const seen = data.replicas[index].seen_at;
  return h("tr", { dataset: { replica: replica.id } },
    h("td", { dataset: { label: "Replica" } }, nameOf(replica, index), mine ? " (answers this page)" : ""),
    h("td", { dataset: { label: "Serves" } },
      `version ${replica.version} `, silent ? h("span.badge", {}, "silent") : served(replica, head)),
    h("td", { dataset: { label: "Not ready" } }, degraded(replica)),
    h("td", { dataset: { label: "Last heartbeat" } }, h("span", { dataset: { seen: replica.id } }, seen ? "" : "–")),
    h("td", { dataset: { label: "Running" } }, when(replica.started_at)));
}

function served(replica, head) {
  if (replica.version < head) return h("span.badge.warn", {}, `${head - replica.version} behind`);
  return replica.unopened
    ? h("span.badge.info", {}, `${count(replica.unopened)} not opened yet`)
    : h("span.badge.good", {}, "newest");
}

function degraded(replica) {
  if (!replica.degraded.length) return "none";
  return h("details", {}, h("summary", {}, many(replica.degraded.length, "agent")),
    h("ul", {}, replica.degraded.slice(0, 100).map((one) => h("li", {},
      h("a", { href: `/ui/agent?agent=${inPath(one.slug)}` }, one.slug), ` ${one.message || one.reason || ""}`))));
}

function heard(id, data, now) {
  const replica = data.replicas.find((one) => one.id === id);
  if (!replica?.seen_at) return "–";
  const seconds = Math.round(silence(replica, now) / 1000);
  return seconds ? `${seconds} s ago` : "just now";
}
