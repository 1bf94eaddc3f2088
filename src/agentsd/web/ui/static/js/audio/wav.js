// WAV files: a header for samples, and the reading of a file's own header.

import { packed, toFloats, Unpacker } from "./pcm.js";
import { joined, Resampler } from "./resampler.js";

const HEADER = 44;
const READ = new Set(["1/8", "1/16", "1/24", "1/32", "3/32"]); // format/bits that the server also reads

/** Return a whole file of 16-bit mono samples. */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at, letters) => {
    [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  };
  const size = samples.length * 2;
  text(0, "RIFF"); view.setUint32(4, 36 + size, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, size, true);
  return new Blob([view.buffer, packed(samples)], { type: "audio/wav" });
}

/**
 * Return `{rate, channels, bits, format, start, bytes, readable}` of a WAV's bytes (its beginning is enough); null
 * for bytes that are not a WAV.
 */
export function headerOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || letters(bytes, 0) !== "RIFF" || letters(bytes, 8) !== "WAVE") return null;
  let form = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true);
    if (letters(bytes, at) === "fmt " && at + 24 <= bytes.length) form = formatOf(view, at + 8, size);
    if (letters(bytes, at) === "data") return form && { ...form, start: at + 8, bytes: size };
    at += 8 + size + (size % 2);
  }
  return null;
}

function formatOf(view, at, size) {
  const named = view.getUint16(at, true);
  const format = named === 0xfffe && size >= 26 ? view.getUint16(at + 24, true) : named;
  const [channels, rate, bits] = [
    view.getUint16(at + 2, true), view.getUint32(at + 4, true), view.getUint16(at + 14, true),
  ];
  const readable = READ.has(`${format}/${bits}`) && channels >= 1 && channels <= 8 && rate >= 4000 && rate <= 192000;
  return { format, channels, rate, bits, readable };
}

const letters = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));

/** Return the page's sample recording as floats at `rate`. */
export async function sampleRecording(rate) {
  const bytes = new Uint8Array(await sampleFile());
  const { rate: own, start, bytes: size } = headerOf(bytes);
  const resampler = new Resampler(own, rate);
  const taken = resampler.take(toFloats(new Unpacker().take(bytes.subarray(start, start + size))));
  return joined(taken, resampler.rest());
}

/** Return its file: "What are your opening hours?" */
export async function sampleFile() {
  const reply = await fetch(new URL("../../sample.wav", import.meta.url));
  if (!reply.ok) throw new Error("the sample recording cannot be loaded");
  return reply.arrayBuffer();
}
