// The last calls, kept in this browser and nowhere else.

import { full } from "../format.js";
import { KeptList } from "../kept.js";
import { lineOf } from "./bars.js";

/** @import { Entry } from "./transcript.js" */
/** @import { Turn } from "./turns.js" */

const MOST = 10;
const MOST_CHARACTERS = 400_000;

/**
 * A call as it is kept.
 * @typedef {object} KeptCall
 * @property {string} id
 * @property {string} slug the agent's at its beginning
 * @property {string} name
 * @property {number} began ms since the epoch
 * @property {number} seconds its length
 * @property {string} end why it ended
 * @property {Entry[]} entries
 * @property {Partial<Turn>[]} turns
 */

/** The calls of one token, the latest first. */
export class Calls extends KeptList {
  constructor(who) {
    super(`agentsd.calls.${who}`, { most: MOST, characters: MOST_CHARACTERS, isSound, shorten: shortened });
  }

  clear() { return this.write([]); }

  write(calls) { return super.write(calls.sort((one, other) => other.began - one.began)); }
}

/** Return whether a page can show it: another version of the page may have kept another form. */
function isSound(one) {
  return typeof one?.id === "string" && typeof one.name === "string" && typeof one.slug === "string"
    && Number.isFinite(one.began) && Number.isFinite(one.seconds) && typeof one.end === "string"
    && Array.isArray(one.entries) && one.entries.every(isEntry)
    && Array.isArray(one.turns) && one.turns.every(isTurn);
}

const isEntry = (one) => ["role", "who", "text", "unheard", "mark"].every((name) => typeof one?.[name] === "string")
  && Number.isFinite(one.at);
const isTurn = (one) => typeof one?.kind === "string" && typeof one.reason === "string" && Number.isFinite(one.tools)
  && (one.times === null || typeof one.times === "object");

/** A call that alone is more than we keep loses its beginning. */
function shortened(call, fits) {
  const short = { ...call, entries: [...call.entries], turns: [...call.turns] };
  while (short.entries.length > 2 && !fits(short)) short.entries.splice(0, Math.ceil(short.entries.length / 10));
  while (short.turns.length > 2 && !fits(short)) short.turns.splice(0, Math.ceil(short.turns.length / 10));
  return short;
}

/** "1:05", of seconds. */
export function clockOf(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * Return a call as a text.
 * @param {KeptCall} call
 */
export function textOf(call) {
  const said = call.entries.map((one) => `[${clockOf(one.at)}] ${sayOf(one)}`);
  const turns = call.turns.map((turn, index) => lineOf(turn, index + 1));
  const length = clockOf(call.seconds);
  const head = `Call with ${call.name} (${call.slug}), ${full(call.began / 1000)}, ${length}. ${call.end}`;
  return [head, "", ...said, ...(turns.length ? ["", "Turns", ...turns] : []), ""].join("\n");
}

function sayOf({ role, who, text, unheard, mark }) {
  if (role === "note") return `(${text})`;
  const said = mark ? `(${mark})` : text;
  return `${who}: ${said}${unheard ? ` (not heard: ${unheard.trim()})` : ""}`;
}
