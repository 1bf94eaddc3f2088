// The head of the agent's page: its name and its condition.

import { inPath } from "../api.js";
import { byId, fill, h } from "../dom.js";
import { commitOf, sentence, statusBadge, when } from "../marks.js";
import { onDisk } from "./paths.js";

const TALK = [
  ["chat", "Chat"], ["voice", "Voicebot"], ["speech", "Text to speech"], ["transcription", "Speech to text"],
];

/** Show the head and the overview. */
export function showHead(agent, files) {
  document.title = `${agent.name} · agentsd`;
  fill(byId("name"), agent.name);
  fill(byId("marks"), h("code", {}, agent.slug),
    ["Ready", "Untested"].includes(agent.status.word) && agent.lacks?.length
      ? h("span.badge.warn", {}, "Needs setup")
      : statusBadge(agent.status),
    agent.is_default ? h("span.badge.accent", {}, "default") : null,
    agent.path === null ? h("span.badge", {}, "built in") : null);
  fill(byId("overview"), agent.description ? h("p", {}, agent.description) : null, facts(agent, files));
  fill(byId("talk"),
    TALK.map(([page, label]) => h("a.button.small", { href: `/ui/${page}?agent=${inPath(agent.slug)}` }, label)));
}

function facts(agent, files) {
  const rows = [
    ["Status", [agent.status.word, why(agent.status)]],
    ["Version", [String(agent.version), served(agent)]],
    ["Owner", agent.user],
    ["File", agent.path === null ? "none" : h("code", {}, onDisk(files, agent.path))],
    ["Commit", agent.path === null ? "none" : commitOf(agent.commit)],
    ["Last change", when(agent.updated_at)],
  ];
  return h("dl.facts.two", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function why({ message, fix, since }) {
  return [
    since ? h("span.soft", {}, " since ", when(since)) : null,
    message ? h("div.small", {}, sentence(message)) : null,
    fix ? h("div.small.soft", {}, sentence(fix)) : null,
  ];
}

function served({ version, serving_version: serving, condition }) {
  if (serving === version || condition.type === "Suspended" || (serving === null && condition.type === "Ready")) {
    return null;
  }
  return h("span.badge.warn", {}, serving === null ? "none of it is served" : `version ${serving} is served`);
}
