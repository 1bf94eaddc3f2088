// The values of the manifest, masked, with the place of each.

import { getAll } from "../api.js";
import { copy as copyPlain } from "../clipboard.js";
import { toast } from "../dialogs.js";
import { byId, fill, h } from "../dom.js";
import { commitOf, notice } from "../marks.js";
import { fileButton } from "./files.js";
import { latest } from "./latest.js";
import { api, onDisk } from "./paths.js";

const GROUPS = [
  ["llm", "Language model (llm)"], ["tts", "Voice (tts)"], ["stt", "Listening (stt)"], ["embedding", "Embedding"],
  ["rag", "Knowledge (rag)"], ["turn", "Turn taking (turn)"], ["on_error", "After a failure (on_error)"],
  ["tools", "Tools"], ["variables", "Variables"], ["handoff", "Hand-off"], ["checks", "Checks"],
];

/** Return a function that shows the values of an agent, and reads them again only where its document changed. */
export function values(session) {
  const ask = latest();
  let shown = "";
  return function show(agent) {
    const key = `${agent.id} ${agent.digest} ${agent.version}`;
    if (key === shown) return;
    shown = key;
    ask(() => getAll(api(agent, "/values")), (found) => draw(agent, found, session), (problem) => {
      shown = "";
      fill(byId("values"),
        notice(problem),
        h("div.row", {}, h("button.small", { type: "button", onclick: () => show(agent) }, "Try again")));
    });
  };
}

function draw(agent, found, session) {
  fill(byId("values-of"),
    agent.path === null
      ? null
      : [`version ${found.version}, `, found.commit ? "commit " : null, commitOf(found.commit)]);
  if (!found.items.length) {
    fill(byId("values"),
      h("p.soft", {},
        agent.path === null
          ? "It is built in: it has no configuration."
          : "The manifest cannot be read: see Conditions."));
    return;
  }
  const known = new Set(GROUPS.map(([name]) => name));
  const groups = [["", "Agent", found.items.filter((one) => !known.has(headOf(one.pointer)))],
    ...GROUPS.map(([name, title]) => [name, title, found.items.filter((one) => headOf(one.pointer) === name)])];
  fill(byId("values"),
    groups.filter(([, , items]) => items.length).map(([name, title, items]) => [
      h("h3", {}, title), table(name, title, items, { agent, session }),
    ]));
}

const headOf = (pointer) => pointer.match(/^[^.[]*/)[0];

function table(name, title, items, where) {
  const heads = ["Setting", "Value", "Place"].map((text) => h("th", { scope: "col" }, text));
  return h("table.cards.values", { ariaLabel: title },
    columns(),
    h("thead", {}, h("tr", {}, heads)),
    h("tbody", {}, items.map((one) => row(name, one, where))));
}

const columns = () => h("colgroup", {}, h("col.names"), h("col"), h("col.places"));

function row(name, item, { agent, session }) {
  const setting = name && item.pointer.startsWith(`${name}.`) ? item.pointer.slice(name.length + 1) : item.pointer;
  return h("tr", {},
    h("th", { scope: "row" }, setting),
    h("td", { dataset: { label: "Value" } },
      valueOf(item), isFile(item) ? [" ", fileButton(agent, session, item.value)] : null),
    h("td", { dataset: { label: "Place" } }, from(item, session.files)));
}

const isFile = ({ pointer, value }) => /^(system_prompt_file|rag\.sources\[\d+\])$/.test(pointer)
  && /\.(md|txt)$/.test(value);

function valueOf({ value, secret }) {
  if (secret) return [h("code", {}, value), h("span.soft.small", {}, " secret")];
  if (typeof value === "string") {
    return value.includes("\n")
      ? h("pre", { tabIndex: 0 }, value.replace(/\n$/, ""))
      : value || h("span.soft", {}, "empty");
  }
  return h("code", {}, JSON.stringify(value));
}

function from({ path, line, column }, files) {
  const place = `${onDisk(files, path)}:${line}`;
  const copy = async () => {
    const done = await copyPlain(`${place}:${column}`);
    if (done) toast(`Copied: ${place}:${column}`);
    else toast("This browser does not let the page copy: select the text instead.", "bad");
  };
  return h("button.from", { type: "button", title: "Copy", ariaLabel: `Copy ${place}`, onclick: copy }, place);
}
