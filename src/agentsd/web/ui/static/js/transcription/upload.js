// The upload of a recording, and its transcript. By XMLHttpRequest: fetch does not report when an upload is done.

import { get, Problem } from "../api.js";

/**
 * `on`: {sent(), headers(reader of headers), partial(text), delta(text)}. Resolves with the whole text.
 * Throws `Problem`; an `AbortError` once `signal` is aborted.
 */
export async function transcribe({ agent, file, name, signal, on }) {
  try {
    return await posted(formOf(agent, file, name), signal, on);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    await get("/api/session"); // asks to sign in
    return posted(formOf(agent, file, name), signal, on);
  }
}

function formOf(agent, file, name) {
  const form = new FormData();
  for (const [key, value] of Object.entries({ model: agent, stream: "true", partials: "true" })) {
    form.append(key, value);
  }
  form.append("file", file, name);
  return form;
}

function posted(form, signal, on) {
  const request = new XMLHttpRequest();
  request.open("POST", "/v1/audio/transcriptions");
  return new Promise((resolve, reject) => {
    const events = new Events(on);
    const away = new Problem(0, { detail: "the server cannot be reached", hint: "it may be restarting: try again" });
    request.upload.addEventListener("load", on.sent);
    request.addEventListener("readystatechange", () => {
      if (request.readyState === 2) on.headers((key) => request.getResponseHeader(key));
    });
    request.addEventListener("progress", () => { if (request.status === 200) events.take(request.responseText); });
    request.addEventListener("load", () => {
      if (request.status !== 200) return reject(problemOf(request));
      events.take(request.responseText);
      if (events.problem) reject(events.problem);
      else if (events.text === null) reject(new Problem(0, { detail: "the transcript broke off", hint: "try again" }));
      else resolve(events.text);
    });
    request.addEventListener("error", () => reject(away));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Server-sent events out of a text that grows. */
class Events {
  seen = 0; // characters that were read
  /** @type {string | null} the whole transcript */
  text = null;
  /** @type {Problem | null} */
  problem = null;

  /** @param {{ partial: (text: string) => void, delta: (text: string) => void }} on */
  constructor(on) { this.on = on; }

  take(all) {
    for (let end = all.indexOf("\n\n", this.seen); end >= 0; end = all.indexOf("\n\n", this.seen)) {
      const line = all.slice(this.seen, end);
      this.seen = end + 2;
      if (line.startsWith("data: ")) this.one(JSON.parse(line.slice(6)));
    }
  }

  one(event) {
    if (event.error) this.problem = new Problem(0, { detail: event.error.message });
    else if (event.type === "transcript.text.delta") this.on.delta(event.delta);
    else if (event.type === "transcript.text.partial") this.on.partial(event.text);
    else if (event.type === "transcript.text.done") this.text = event.text;
  }
}

function problemOf(request) {
  let told = {};
  try { told = JSON.parse(request.responseText).error ?? {}; } catch { /* a proxy's page */ }
  return new Problem(request.status, { ...told, detail: told.message });
}
