// Conversations, kept in this browser and nowhere else.

import { KeptList, newEntryId } from "../kept.js";

/** @import { Call } from "./calls.js" */

const MOST = 50;
const MOST_CHARACTERS = 1_000_000;

/** The latest first. Several pages may be open: each writes only the conversation that it shows. */
export class Store extends KeptList {
  constructor(who) {
    super(`agentsd.chats.${who}`, { most: MOST, characters: MOST_CHARACTERS, isSound, shorten: shortened });
  }

  /** Whether anything is kept: not so after signing out. */
  get exists() {
    try { return localStorage.getItem(this.key) !== null; } catch { return false; }
  }

  save(conversation) {
    conversation.updated = Date.now();
    return super.save(conversation);
  }

  /** Rename it; its place stays. */
  rename(id, title) { return this.write(this.all().map((one) => (one.id === id ? { ...one, title } : one))); }
}

/** Return whether a page can show it: another version of the page may have kept another form. */
function isSound(one) {
  const texts = typeof one?.id === "string" && typeof one.title === "string";
  return texts && !Number.isNaN(new Date(one.updated).getTime()) && Array.isArray(one.turns) && one.turns.every(isTurn);
}

const isTurn = (turn) => typeof turn?.text === "string"
  && (turn.state !== "failed" || typeof turn.problem?.message === "string")
  && (turn.calls === undefined || (Array.isArray(turn.calls) && turn.calls.every(isCall)));

const isCall = (call) => typeof call?.name === "string";

/** A conversation that alone is more than we keep loses its beginning. */
function shortened(conversation, fits) {
  const turns = [...conversation.turns];
  while (turns.length > 2 && !fits(turns)) turns.shift();
  return turns.length === conversation.turns.length ? conversation : { ...conversation, turns };
}

/**
 * One turn of a conversation.
 * @typedef {object} Turn
 * @property {string} role user or assistant
 * @property {string} text
 * @property {string} [state] of an answer: coming, done, stopped or failed
 * @property {string} [agent] whose answer it is
 * @property {number} [version]
 * @property {any[]} [citations]
 * @property {Call[]} [calls] of tools
 * @property {number | null} [first] ms until its first piece came
 * @property {number | null} [total] ms until it ended
 * @property {{ message: string, hint: string }} [problem] of one that failed
 */

/**
 * A conversation as it is kept.
 * @typedef {{ id: string, title: string, created: number, updated: number, turns: Turn[] }} Kept
 */

/**
 * Return a new conversation.
 * @returns {Kept}
 */
export function fresh() {
  return { id: newEntryId(), title: "", created: Date.now(), updated: Date.now(), turns: [] };
}

/** Return the title of a conversation until it is renamed: its first question. */
export function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/** Return the messages for the agent: all turns with a text. */
export function messagesOf(turns) {
  return turns.filter((turn) => turn.text).map((turn) => ({ role: turn.role, content: turn.text }));
}
