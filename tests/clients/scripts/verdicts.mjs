// Features of a client, tried one after the other. One line of JSON for each goes to standard output.

export const BASE_URL = process.env.OPENAI_BASE_URL;
export const API_KEY = process.env.OPENAI_API_KEY;
export const MODEL = process.env.AGENT;
export const RECORDING = process.env.RECORDING;
export const ANSWER = "Paris";
export const TRANSCRIPT = "capital";

const features = [];

export function feature(name, work, { refused = "" } = {}) {
  features.push({ name, work, refused });
}

export function check(condition, detail) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(detail)?.slice(0, 300)}`);
}

export async function runFeatures() {
  const wanted = process.argv.slice(2);
  for (const { name, work, refused } of features) {
    if (wanted.length && !wanted.includes(name)) continue;
    let verdict = ["green", ""];
    try {
      await work();
      if (refused) verdict = ["red", "it was not refused"];
    } catch (error) {
      const said = `${error?.message ?? error} ${error?.responseBody ?? ""}`.replace(/\s+/g, " ").trim();
      const named = refused && said.includes(refused);
      verdict = named ? ["refused by name", refused] : ["red", `${error?.name}: ${said}`.slice(0, 400)];
      if (!named && process.env.SHOW_TRACES) console.error(error);
    }
    console.log(`VERDICT ${JSON.stringify([name, ...verdict])}`);
  }
  process.exit(0);
}
