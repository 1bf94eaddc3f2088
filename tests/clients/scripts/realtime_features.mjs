// Features of a realtime client, tried one after the other. Each is one line `VERDICT [name, verdict, detail]`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const BASE_URL = process.env.OPENAI_BASE_URL;
export const SOCKET_URL = `${BASE_URL.replace("http", "ws")}/realtime`;
export const API_KEY = process.env.OPENAI_API_KEY ?? "none";
export const MODEL = process.env.AGENT ?? "assistant";
const TIMEOUT_MS = 20_000;
const PIECE = 2400; // bytes: 50 ms

const root = join(process.env.CLIENT_MODULES, "package.json");
const require = createRequire(root);
const features = [];

// Load a package of the client's environment, which is not above this file.
export const load = (name) => import(pathToFileURL(require.resolve(name)));

export function feature(name, work) {
  features.push({ name, work });
}

export function check(condition, detail) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(detail)?.slice(0, 300)}`);
}

export function* speech() {
  const spoken = Buffer.concat([Buffer.alloc(9600), readFileSync(process.env.SPEECH), Buffer.alloc(48_000)]);
  for (let at = 0; at < spoken.length; at += PIECE) yield spoken.subarray(at, at + PIECE);
}

function limit(work) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("timeout")), TIMEOUT_MS).unref());
  return Promise.race([work(), late]);
}

export async function runFeatures(name) {
  const path = join(process.env.CLIENT_MODULES, "node_modules", name, "package.json");
  console.log(`VERSION ${JSON.parse(readFileSync(path, "utf8")).version}`);
  for (const { name: title, work } of features) {
    let verdict = ["green", ""];
    try {
      await limit(work);
    } catch (error) {
      verdict = ["red", `${error?.name}: ${error?.message ?? JSON.stringify(error)}`.slice(0, 300)];
      if (process.env.SHOW_TRACES) console.error(error);
    }
    console.log(`VERDICT ${JSON.stringify([title, ...verdict])}`);
  }
  process.exit(0);
}
