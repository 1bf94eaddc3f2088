// Speech over HTTP, as a WAV of unknown length: passed on piece by piece, and kept.

import { request } from "../api.js";
import { joined, Unpacker } from "./pcm.js";
import { headerOf } from "./wav.js";

const HEADER_MAX = 4096;

/**
 * Have `agent` speak `input`. `onBegin({rate, reply})` before the first `onSamples(Int16Array)`.
 * Resolves with `{rate, samples}`, all of it. Throws `Problem`, and an error where the stream breaks off.
 * @param {object} options
 * @param {string} options.agent
 * @param {string} options.input
 * @param {AbortSignal} options.signal
 * @param {(begun: { rate: number, reply: Response }) => void} [options.onBegin]
 * @param {(samples: Int16Array) => void} [options.onSamples]
 */
export async function spoken({ agent, input, signal, onBegin = () => {}, onSamples = () => {} }) {
  const body = { model: agent, input, response_format: "wav" };
  const reply = await request("POST", "/v1/audio/speech", { body, signal });
  const reader = reply.body.getReader();
  const unpacker = new Unpacker();
  const kept = [];
  let rate = 0;
  let head = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    let bytes = value;
    if (!rate) {
      head = appended(head, value);
      const header = headerOf(head);
      if (!header && head.length < HEADER_MAX) continue;
      if (!header) throw new Error("the response is not a WAV file");
      rate = header.rate;
      bytes = head.subarray(header.start);
      onBegin({ rate, reply });
    }
    const samples = unpacker.take(bytes);
    if (!samples.length) continue;
    kept.push(samples);
    onSamples(samples);
  }
  return { rate, samples: joined(kept) };
}

function appended(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
