// The sound for the agent: the microphone, or the sample recording in its place, at the pace of real time.

import { listen } from "../audio/capture.js";
import { loudness, toSixteen } from "../audio/pcm.js";
import { sampleRecording } from "../audio/wav.js";

export const RATE = 24000;
const PIECE_MS = 40;
const PIECE = (RATE * PIECE_MS) / 1000;
const AFTER_MS = 800; // of silence, beyond what ends a turn

/** `onBlock(samples)` for the server, `onLevel(0..1)` for the meter. */
export class Ears {
  /** @type {{ stop: () => void } | null} */
  microphone = null;
  /** @type {string | null} the id by which it was opened; null: none is open, or about to be */
  device = null;
  muted = false;
  /** @type {object | null} the current playback of the sample recording */
  playing = null;
  closed = false;

  /**
   * @param {object} work
   * @param {(samples: Int16Array) => void} work.onBlock
   * @param {(level: number) => void} work.onLevel
   * @param {() => void} work.onLost
   */
  constructor({ onBlock, onLevel, onLost }) {
    this.onBlock = onBlock;
    this.onLevel = onLevel;
    this.onLost = onLost;
  }

  /** Listen by `device`, an id, in place of the present one. Throws `NoMicrophone`. */
  async open(device = "") {
    if (this.device === device) return;
    const before = this.device;
    this.device = device;
    let opened = null;
    const present = () => opened !== null && this.microphone === opened;
    try {
      opened = await listen({
        rate: RATE,
        device,
        onBlock: (samples, level) => { if (present()) this.heard(samples, level); },
        onEnd: () => { if (present()) this.lost(); },
      });
    } catch (problem) {
      this.device = before;
      throw problem;
    }
    if (this.device !== device || this.closed) return opened.stop(); // another was chosen meanwhile
    this.microphone?.stop();
    this.microphone = opened;
  }

  heard(samples, level) {
    if (this.playing) return; // the recording is sent instead
    if (this.muted) samples = new Int16Array(samples.length); // silence, or a turn that has begun would never end
    this.onLevel(this.muted ? 0 : level);
    this.onBlock(samples);
  }

  lost() {
    this.microphone = this.device = null;
    this.onLevel(0);
    this.onLost();
  }

  /** Play the sample recording, then the silence that ends a turn. Resolves when it was played, or stopped. */
  async playSample(silenceMs) {
    if (this.playing) return;
    const mine = (this.playing = {});
    try {
      const speech = await sampleRecording(RATE);
      const pieces = Math.ceil((speech.length + (RATE * (silenceMs + AFTER_MS)) / 1000) / PIECE);
      const begun = performance.now();
      for (let at = 0; at < pieces && this.playing === mine; at += 1) {
        const piece = new Float32Array(PIECE);
        piece.set(speech.subarray(at * PIECE, (at + 1) * PIECE));
        this.onLevel(loudness(piece));
        this.onBlock(toSixteen(piece));
        await until(begun + (at + 1) * PIECE_MS);
      }
    } finally {
      if (this.playing === mine) this.playing = null;
      this.onLevel(0);
    }
  }

  close() {
    this.closed = true;
    this.playing = null;
    this.microphone?.stop();
    this.microphone = this.device = null;
    this.onLevel(0);
  }
}

const until = (time) => new Promise((resolve) => setTimeout(resolve, Math.max(0, time - performance.now())));
