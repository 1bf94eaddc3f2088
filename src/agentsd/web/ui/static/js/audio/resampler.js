// From one sample rate to another, as a stream: a windowed sinc, so that nothing folds back into the speech.

const CROSSINGS = 16; // zero crossings of the sinc on either side
const STEPS = 256; // entries of the kernel's table between two of them
const ROLL_OFF = 0.945; // of the lower Nyquist frequency: the filter needs a transition band

/** `take(samples)` as they come, then `rest()`: what comes out is as long as what went in. */
export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.scale = Math.min(1, to / from) * ROLL_OFF;
    this.reach = Math.ceil(CROSSINGS / this.scale);
    this.table = kernel();
    this.held = new Float32Array(this.reach); // silence from before
    this.next = this.reach; // where in `held` the next sample comes from
    this.same = from === to;
    this.taken = 0;
    this.made = 0;
  }

  /** Float32 samples at the new rate; later by the filter's half length. */
  take(samples) {
    if (this.same) return samples;
    this.taken += samples.length;
    this.held = joined(this.held, samples);
    const count = Math.max(0, Math.floor((this.held.length - this.reach - 1 - this.next) / this.step) + 1);
    const out = new Float32Array(count);
    for (let index = 0; index < count; index += 1) out[index] = this.at(this.next + index * this.step);
    this.next += count * this.step;
    const drop = Math.max(0, Math.floor(this.next) - this.reach);
    this.held = this.held.slice(drop);
    this.next -= drop;
    this.made += count;
    return out;
  }

  /** What is still in the filter. */
  rest() {
    if (this.same) return new Float32Array(0);
    const left = Math.round(this.taken / this.step) - this.made;
    return this.take(new Float32Array(this.reach * 2 + 2)).slice(0, Math.max(0, left));
  }

  at(position) {
    const first = Math.ceil(position - this.reach);
    const last = Math.floor(position + this.reach);
    let sum = 0;
    for (let index = Math.max(0, first); index <= last; index += 1) {
      const place = Math.abs(position - index) * this.scale * STEPS;
      const whole = Math.floor(place);
      if (whole >= this.table.length - 1) continue;
      const here = this.table[whole];
      sum += this.held[index] * (here + (this.table[whole + 1] - here) * (place - whole));
    }
    return sum * this.scale;
  }
}

/** Half of a sinc under a Hann window. */
function kernel() {
  const table = new Float32Array(CROSSINGS * STEPS + 1);
  for (let index = 0; index < table.length; index += 1) {
    const x = index / STEPS;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    table[index] = sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / CROSSINGS));
  }
  return table;
}

/** One after the other. */
export function joined(first, second) {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
