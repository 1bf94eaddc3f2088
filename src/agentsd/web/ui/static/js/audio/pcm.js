// Samples: 16-bit on the wire, floats in the browser, and their loudness.

/** Floats to 16 bits. */
export function toSixteen(floats) {
  const out = new Int16Array(floats.length);
  for (let index = 0; index < out.length; index += 1) {
    out[index] = Math.max(-32768, Math.min(32767, Math.round(floats[index] * 32768)));
  }
  return out;
}

/** 16 bits to floats: exactly, and back. */
export function toFloats(samples) {
  const out = new Float32Array(samples.length);
  for (let index = 0; index < out.length; index += 1) out[index] = samples[index] / 32768;
  return out;
}

/** Samples from little-endian bytes that come in pieces of any length, half samples included. */
export class Unpacker {
  constructor() { this.odd = new Uint8Array(0); }

  take(bytes) {
    const all = new Uint8Array(this.odd.length + bytes.length);
    all.set(this.odd);
    all.set(bytes, this.odd.length);
    const whole = all.length - (all.length % 2);
    this.odd = all.slice(whole);
    const view = new DataView(all.buffer, 0, whole);
    return Int16Array.from({ length: whole / 2 }, (_, index) => view.getInt16(index * 2, true));
  }
}

/** Little-endian bytes of samples. */
export function packed(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  return new Uint8Array(view.buffer);
}

export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

/** Loudness as a meter shows it: 0 (-60 dB and less) to 1 (full scale). */
export function loudness(floats) {
  let sum = 0;
  for (const sample of floats) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, floats.length));
  return Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms + 1e-9)) / 60));
}

/** All pieces as one. */
export function joined(pieces) {
  const all = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  return all;
}
