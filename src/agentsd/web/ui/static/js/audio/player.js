// Plays streamed 16-bit mono without gaps, and measures how much of it was played.

import { loudness, toFloats } from "./pcm.js";

const LEAD = 0.06; // seconds between the arrival of the first samples and their sound: later ones may be late by that

/**
 * At one `rate`: the browser's context has the same, so a sample is a sample. Make it in the handler of a click, since
 * browsers start sound only there.
 */
export class Player {
  constructor(rate, { onIdle = () => {} } = {}) {
    this.rate = rate;
    this.context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    this.onIdle = onIdle;
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    this.analyser.connect(this.context.destination);
    this.wave = new Float32Array(this.analyser.fftSize);
    this.pieces = []; // of the queued sound: {from, to} in seconds of the context's clock
    this.sources = new Set();
    this.sink = ""; // the loudspeaker's id
    this.frame = 0; // where the next piece begins
    this.context.resume().catch(() => {});
  }

  /** Whether anything sounds, or will. */
  get playing() { return this.sources.size > 0; }

  /** From here on `playedMs` counts anew. */
  begin() { this.pieces = []; }

  /** Queue more of the sound; returns in how many ms it is played. */
  push(samples) {
    if (!samples.length || this.context.state === "closed") return 0;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(toFloats(samples), 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.analyser);
    const now = this.context.currentTime;
    if (this.frame < now * this.rate) this.frame = Math.ceil((now + LEAD) * this.rate);
    const from = this.frame / this.rate;
    this.frame += samples.length;
    this.pieces.push({ from, to: this.frame / this.rate });
    this.sources.add(source);
    source.onended = () => this.ended(source);
    source.start(from);
    return (from - now + this.latency) * 1000;
  }

  ended(source) {
    source.disconnect();
    if (this.sources.delete(source) && !this.playing) this.onIdle();
  }

  /** Stop all sound at once. */
  stop() {
    const silenced = [...this.sources];
    this.sources.clear();
    this.pieces = this.played();
    this.frame = 0;
    for (const source of silenced) {
      source.stop();
      source.disconnect();
    }
    if (silenced.length) this.onIdle();
  }

  /** The loudness of what sounds now, 0 to 1. */
  get level() {
    if (!this.playing) return 0;
    this.analyser.getFloatTimeDomainData(this.wave);
    return loudness(this.wave);
  }

  /** Play on the loudspeaker with that id, "" for the system's own, where the browser lets a page choose. */
  async route(id) {
    const context = /** @type {any} */ (this.context);
    if (context.state === "closed" || context.setSinkId === undefined || this.sink === id) return;
    this.sink = id;
    await context.setSinkId(id).catch(() => {}); // it was removed a moment ago: an event about that is on its way
  }

  get latency() { return this.context.outputLatency || this.context.baseLatency || 0; }

  /** Milliseconds since `begin` that have left the loudspeaker. */
  get playedMs() { return this.played().reduce((sum, { from, to }) => sum + (to - from) * 1000, 0); }

  played() {
    const now = this.context.currentTime - this.latency;
    return this.pieces.filter(({ from }) => from < now).map(({ from, to }) => ({ from, to: Math.min(to, now) }));
  }

  close() {
    this.stop();
    if (this.context.state !== "closed") this.context.close();
  }
}
