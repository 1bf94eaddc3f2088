// The state of this replica: its version, the database, the leader of each source, and pulls.

import { isNullish, without } from "../data.js";
import { byId, fill, h } from "../dom.js";
import { count, millis, short } from "../format.js";
import { sentence, when } from "../marks.js";
import { many, onChange } from "./standing.js";

/** Draws `#head`. */
export function mountHead() {
  const facts = h("dl.facts");
  const pulls = h("div");
  fill(byId("head"), facts, pulls);
  const drawPulls = onChange((told) => fill(pulls,
    told?.length ? [h("h3", {}, "Pulled sources"), told.map(pulled)] : null));
  const drawFacts = onChange((_, data) => fill(facts,
    Object.entries(factsOf(data)).map(([name, value]) => (isNullish(value) ? null : fact(name, value)))));
  return ({ data }) => {
    drawFacts({ ...without(data, "runs", "replicas"), age_seconds: Math.round(data.age_seconds ?? -1) }, data);
    drawPulls(data.pulls);
  };
}

const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];

function factsOf(data) {
  return {
    "Served here": `version ${data.version}, ${many(data.agents, "agent")}`,
    "Loaded": data.loaded_at
      ? h("span", {}, when(data.loaded_at), data.from_disk ? " from an earlier run's file" : "")
      : "not yet",
    "Postgres": store(data),
    "Stamp": data.stamp ? h("code", {}, data.stamp) : null,
    "Leaders": data.leaders?.length ? h("ul.bare", {}, data.leaders.map(leader)) : null,
    "Manifests": manifests(data.condition_counts),
  };
}

function store(data) {
  const age = isNullish(data.age_seconds)
    ? "it never answered"
    : `answered ${data.age_seconds < 1 ? "just now" : `${millis(data.age_seconds * 1000)} ago`}`;
  const badge = data.store === "ok" ? h("span.badge.good", {}, "ok") : h("span.badge.bad", {}, data.store);
  return [badge, ` ${age}`, data.store_problem ? `: ${data.store_problem}` : ""];
}

function leader(one) {
  const who = `${one.host}:${one.pid}`;
  return h("li", {},
    h("code", {}, one.source),
    one.leads ? ` is synced by ${who}, since ` : ` has no leader; ${who} began to `,
    when(one.since));
}

function manifests(counts) {
  if (!counts) return "unknown while Postgres is away";
  const told = Object.entries(counts)
    .filter(([type]) => type !== "Ready")
    .map(([type, number]) => `${count(number)} ${type}`);
  return told.length ? told.join(", ") : "all valid";
}

function pulled(pull) {
  const state = !pull.last_attempted && !pull.reason ? h("span.badge", {}, "not pulled yet")
    : pull.reason ? h("span.badge.bad", {}, pull.reason) : h("span.badge.good", {}, "applied");
  const lines = {
    "Repository": pull.url,
    "Branch or tag": pull.ref,
    "Folder": pull.path,
    "Commit seen": commit(pull.last_attempted, pull.attempted_at),
    "Commit applied": commit(pull.last_applied, pull.applied_at),
    "Signed by": pull.signer,
    "Why": pull.message ? sentence(pull.message) : null,
    "Since": pull.reason && pull.since ? when(pull.since) : null,
  };
  return h("div.pull", {}, h("p", {}, h("strong", {}, pull.source), " ", state),
    h("dl.facts", {}, Object.entries(lines).map(([name, value]) => (value ? fact(name, value) : null))));
}

const commit = (id, time) => (id ? [h("code", { title: id }, short(id)), " ", time ? when(time) : ""] : null);
