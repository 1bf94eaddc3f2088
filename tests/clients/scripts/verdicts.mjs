// Features of a client, tried one after the other. One line of JSON for each goes to standard output.
// Names of features are arguments: only those are tried that begin with one of them.
import { readFileSync } from "node:fs";

export const BASE_URL = process.env.OPENAI_BASE_URL;
export const SECURE_URL = process.env.SECURE_BASE_URL;
export const SOCKET_URL = `${BASE_URL?.replace("http", "ws")}/realtime`;
export const API_KEY = process.env.OPENAI_API_KEY;
export const MODEL = process.env.AGENT;
export const VOICE_MODEL = process.env.VOICE_AGENT;
export const RECORDING = process.env.RECORDING;
export const ANSWER = "Paris";
export const TRANSCRIPT = "capital";
export const INSTRUCTIONS = "Be brief.";
export const INSTRUCTIONS_QUESTION = "What are your instructions?";
const TIMEOUT_MS = 60_000;
const PIECE_BYTES = 2400; // 50 ms

const features = [];

export function feature(name, work, { refused = "" } = {}) {
  features.push({ name, work, refused });
}

export function check(condition, detail) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(detail)?.slice(0, 300)}`);
}

// Yield a spoken question, PCM at 24,000 Hz with silence around it, in the pieces of a microphone.
export function* readSpeech() {
  const pcm = Buffer.concat([Buffer.alloc(9600), readFileSync(process.env.SPEECH), Buffer.alloc(48_000)]);
  for (let at = 0; at < pcm.length; at += PIECE_BYTES) yield pcm.subarray(at, at + PIECE_BYTES);
}

// Keep events in order. `next(type)` waits for one of that type, passes over others, and throws at an error.
export class EventLog {
  #events = [];
  #wake = () => {};
  #read = 0;

  add(event) {
    this.#events.push(event);
    this.#wake();
  }

  async next(type) {
    for (;;) {
      while (this.#read < this.#events.length) {
        const event = this.#events[this.#read++];
        if (event.type === type) return event;
        check(event.type !== "error", String(event.error?.message ?? event.error));
      }
      await new Promise((wake) => (this.#wake = wake));
    }
  }
}

function limit(work) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("timeout")), TIMEOUT_MS).unref());
  return Promise.race([work(), late]);
}

function judge(error, refused) {
  const text = error?.message ?? JSON.stringify(error);
  const said = `${text} ${error?.responseBody ?? ""}`.replace(/\s+/g, " ").trim();
  if (refused && said.includes(refused)) return ["refused by name", refused];
  if (process.env.SHOW_TRACES) console.error(error);
  return ["red", `${error?.name}: ${said}`.slice(0, 400)];
}

const print = (name, verdict) => console.log(`VERDICT ${JSON.stringify([name, ...verdict])}`);

async function attempt({ work, refused }) {
  try {
    await limit(work);
  } catch (error) {
    return judge(error, refused);
  }
  return refused ? ["red", "it was not refused"] : ["green", ""];
}

// Try every feature; `modules`, named from this file, register more of them.
export async function runFeatures(...modules) {
  for (const module of modules) await import(module).catch((error) => print(module, judge(error, "")));
  const wanted = process.argv.slice(2);
  for (const one of features) {
    if (wanted.length && !wanted.some((start) => one.name.startsWith(start))) continue;
    print(one.name, await attempt(one));
  }
  process.exit(0);
}
