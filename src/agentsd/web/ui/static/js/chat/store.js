// Conversations, kept in this browser and nowhere else.

/** @import { Call } from "./calls.js" */

const MOST = 50;
const MOST_CHARACTERS = 1_000_000;

/**
 * Of one token, for several people may have one of the same owner. Several pages may be open: each writes only the
 * conversation that it shows.
 */
export class Store {
  constructor(who) { this.key = `agentsd.chats.${who}`; }

  /** All conversations, the latest first. */
  all() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      return Array.isArray(found) ? found.filter(isSound) : [];
    } catch {
      return [];
    }
  }

  /** The conversation with that id, or null. */
  find(id) { return this.all().find((one) => one.id === id) ?? null; }

  /** Whether anything is kept: not so after signing out. */
  get exists() {
    try { return localStorage.getItem(this.key) !== null; } catch { return false; }
  }

  /** Keep a conversation as it is now, before all others. False: the browser keeps nothing. */
  save(conversation) {
    conversation.updated = Date.now();
    return this.write([conversation, ...this.all().filter((one) => one.id !== conversation.id)]);
  }

  /** Rename it; its place stays. */
  rename(id, title) { return this.write(this.all().map((one) => (one.id === id ? { ...one, title } : one))); }

  /** Forget it. */
  remove(id) { return this.write(this.all().filter((one) => one.id !== id)); }

  write(conversations) {
    const kept = conversations.slice(0, MOST);
    while (kept.length > 1 && JSON.stringify(kept).length > MOST_CHARACTERS) kept.pop();
    if (kept.length === 1) kept[0] = shortened(kept[0]);
    try {
      localStorage.setItem(this.key, JSON.stringify(kept));
      return true;
    } catch {
      return false;
    }
  }
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
function shortened(conversation) {
  const turns = [...conversation.turns];
  while (turns.length > 2 && JSON.stringify(turns).length > MOST_CHARACTERS) turns.shift();
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
  const random = crypto.getRandomValues(new Uint8Array(8));
  const id = Array.from(random, (byte) => byte.toString(36).padStart(2, "0")).join("");
  return { id, title: "", created: Date.now(), updated: Date.now(), turns: [] };
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
