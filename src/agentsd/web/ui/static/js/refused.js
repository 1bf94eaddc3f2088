// Files that the sync refused: their place, and what is wrong there.

import { get } from "./api.js";
import { h } from "./dom.js";
import { sentence } from "./marks.js";

const PLACED = /^(?:(\S[^:]*):)?(\d+):(\d+) (.*)$/s;

/**
 * A file that is set aside, with its first fault.
 * @typedef {{ slug: string, path: string, source: string, place: string, message: string, reason: string,
 *   since: string | null, serves: number | null }} Refused
 */

/** Split a condition's message into its place and what is wrong there: `{ path, line, column, message }`. */
export function placeOf(condition) {
  const [, path, line, column, message] = PLACED.exec(condition.message) ?? [];
  return line
    ? { path: path ?? condition.path, line, column, message }
    : { path: condition.path, line: null, column: null, message: condition.message };
}

/**
 * Return the refused files of a state of the sync. `files`: the folder of manifests.
 * @returns {Refused[]}
 */
export function refusedIn({ conditions }, files) {
  return (conditions ?? []).filter((one) => one.type === "Invalid").map((one) => {
    const { path, line, column, message } = placeOf(one);
    return {
      slug: one.slug, path: one.path, source: one.source, reason: one.reason, since: one.since,
      place: [`${files}/${path}`, line, column].filter(Boolean).join(":"),
      message, serves: one.serving_version ?? null,
    };
  });
}

/** Read the refused files; none while they are unknown. */
async function readRefused(files) {
  return refusedIn(await get("/api/sync"), files);
}

/** Return a notice of the fault of an agent's file; null where its file is not refused. */
export async function fileFault(slug, files) {
  const found = (await readRefused(files)).find((one) => one.slug === slug);
  return found ? faultNotice(found) : null;
}

/** Return a notice of a refused file. */
export const faultNotice = (one) => h("div.notice.bad", {},
  h("p", {}, "Its file is refused: ", h("code", {}, one.place), " ", sentence(one.message)),
  one.serves === null
    ? h("p.hint", {}, "Correct the file; until then there is no such agent.")
    : h("p.hint", {}, "Correct the file; until then the version before it is served."));
