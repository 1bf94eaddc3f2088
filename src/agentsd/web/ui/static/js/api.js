// Requests to this server. The browser sends the session's cookie by itself; scripts never see a token.

/**
 * The body of a refusal.
 * @typedef {object} ProblemBody
 * @property {string} [detail]
 * @property {string} [title]
 * @property {string} [code]
 * @property {string} [hint]
 * @property {string | null} [param]
 * @property {any[]} [violations]
 * @property {string} [file] the file to edit instead, where a write is refused
 * @property {string} [store] the state of Postgres, of a server that is not ready
 * @property {number | null} [age_seconds]
 * @property {boolean} [from_disk]
 */

/** A refused request, with the server's message. `status` 0: the server could not be reached. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {ProblemBody} [body]
   */
  constructor(status, body = {}) {
    super(body.detail ?? body.title ?? `the server returned status ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.hint = body.hint ?? "";
    this.param = body.param ?? null;
    this.violations = body.violations ?? [];
    this.body = body;
  }
}

/**
 * @typedef {object} RequestOptions
 * @property {any} [body] sent as JSON
 * @property {BodyInit} [data] sent as it is
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [again] whether to ask to sign in, and try again, where the token is refused
 */

const signedOut = new Set();

/** Register `work()`, which signs in after a request without a valid token; it resolves when done. */
export function onSignedOut(work) { signedOut.add(work); }

/** Return `acme/sales` as a part of an address. */
export const inPath = (slug) => encodeURIComponent(slug.replaceAll("/", "~"));

/**
 * Send a request; throws a `Problem` where it is refused.
 * @param {string} method
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<Response>}
 */
export async function request(method, path, { body, data, headers = {}, signal, again = true } = {}) {
  /** @type {RequestInit & { headers: Record<string, string> }} */
  const options = { method, headers: { ...headers }, signal, body: data, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "the server cannot be reached", hint: "it may be restarting: try again" });
  }
  if (reply.ok) return reply;
  if (reply.status === 401 && again && signedOut.size) {
    for (const work of signedOut) await work();
    return request(method, path, { body, data, headers, signal, again: false });
  }
  throw await problemOf(reply);
}

async function problemOf(reply) {
  const told = await reply.json().catch(() => ({}));
  return new Problem(reply.status, told.error && typeof told.error === "object" ? openai(told.error) : told);
}

const openai = (error) => ({ ...error, detail: error.message });

/**
 * The JSON of a GET.
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<any>}
 */
export async function get(path, options) {
  return (await request("GET", path, options)).json();
}

/**
 * All pages of a list: the JSON of the last one, with the items of all.
 * @param {string} path without a query
 * @returns {Promise<any>}
 */
export async function getAll(path) {
  const items = [];
  let page = await get(`${path}?limit=1000`);
  while (page.next_cursor !== null) {
    items.push(...page.items);
    page = await get(`${path}?limit=1000&cursor=${encodeURIComponent(page.next_cursor)}`);
  }
  return { ...page, items: [...items, ...page.items] };
}

/**
 * The JSON and the ETag of a GET: what an edit compares with (`If-Match`).
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<{ data: any, etag: string | null }>}
 */
export async function getTagged(path, options) {
  const reply = await request("GET", path, options);
  return { data: await reply.json(), etag: reply.headers.get("ETag") };
}

/**
 * The JSON of a request that changes something; `etag` goes along as `If-Match`. Null for an empty reply.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {RequestOptions & { etag?: string | null }} [options]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, { etag, ...options } = {}) {
  const headers = etag ? { "If-Match": etag } : {};
  const reply = await request(method, path, { body, headers, ...options });
  return reply.status === 204 ? null : reply.json();
}

/** Yield the events of a server-sent stream in a reply: the text after `data:`, one by one. */
export async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
        if (data.length) yield data.join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
