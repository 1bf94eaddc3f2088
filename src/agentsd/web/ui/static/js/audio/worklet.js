// In the audio thread: what the microphone hears, in blocks of about 20 ms. Channels are averaged.

const BLOCK = 1024;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }

  process([channels]) {
    const [first] = channels;
    if (first) for (let at = 0; at < first.length; at += 1) this.put(mean(channels, at));
    return true;
  }

  put(sample) {
    this.block[this.filled] = sample;
    this.filled += 1;
    if (this.filled < BLOCK) return;
    this.port.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }
}

function mean(channels, at) {
  let sum = 0;
  for (const channel of channels) sum += channel[at];
  return sum / channels.length;
}

registerProcessor("agentsd-tap", Tap);
