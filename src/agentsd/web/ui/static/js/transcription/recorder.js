// A recording from the microphone, until it is stopped.

import { listen } from "../audio/capture.js";
import { RATE } from "./recording.js";

const MOST_SECONDS = 780; // 25 MiB

/** `onTime(seconds)`, `onLevel(0..1)`, `onEnd()` where it stops by itself. `start` throws `NoMicrophone`. */
export class Recorder {
  /** @type {Int16Array[]} */
  blocks = [];
  taken = 0; // samples
  /** @type {{ stop: () => void } | null} */
  microphone = null;

  /** @param {{ onTime: (seconds: number) => void, onLevel: (level: number) => void, onEnd: () => void }} work */
  constructor({ onTime, onLevel, onEnd }) {
    this.onTime = onTime;
    this.onLevel = onLevel;
    this.onEnd = onEnd;
  }

  async start() {
    this.microphone = await listen({
      rate: RATE, onBlock: (samples, level) => this.take(samples, level), onEnd: () => this.onEnd(),
    });
  }

  take(samples, level) {
    if (!this.microphone) return;
    this.blocks.push(samples);
    this.taken += samples.length;
    this.onLevel(level);
    this.onTime(this.taken / RATE);
    if (this.taken > MOST_SECONDS * RATE) this.onEnd();
  }

  /** What was recorded. */
  stop() {
    this.microphone?.stop();
    this.microphone = null;
    this.onLevel(0);
    return this.blocks;
  }
}
