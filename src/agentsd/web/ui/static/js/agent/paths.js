// The paths of an agent: at the API, and on disk.

import { inPath } from "../api.js";

/** `/api/agents/acme~sales` + `more`. */
export const api = (agent, more = "") => `/api/agents/${inPath(agent.slug)}${more}`;

/** `agents.d/acme/sales.yaml`. An overlay is beside the folder: its path begins with `../`. */
export function onDisk(files, path) {
  const parts = `${files}/${path}`.split("/");
  const kept = [];
  for (const part of parts) {
    if (part === ".." && kept.length && kept.at(-1) !== "..") kept.pop();
    else kept.push(part);
  }
  return kept.join("/");
}
