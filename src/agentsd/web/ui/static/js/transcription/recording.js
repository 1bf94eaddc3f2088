// Recordings and files, converted to what the server reads: `{file, name, seconds, note}`.

import { joined, toSixteen } from "../audio/pcm.js";
import { headerOf, wavOf } from "../audio/wav.js";
import { bytes } from "../format.js";

export const RATE = 16000;
const MOST = 25 << 20; // the server's limit
const DECODED_MOST = 200 << 20;
const HEAD = 64 << 10;

/** What is wrong with a recording, and what to do. */
class Unusable extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/** Convert a file that was chosen or dropped. A readable WAV stays as it is; anything else is decoded here. */
export async function ofFile(file) {
  if (!file.size) throw new Unusable("the file is empty", "choose another");
  const header = headerOf(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  if (header?.readable && file.size <= MOST) {
    const size = Math.min(header.bytes, file.size - header.start);
    return {
      file, name: file.name, seconds: size / (header.channels * (header.bits / 8)) / header.rate, note: "sent as is",
    };
  }
  if (file.size > DECODED_MOST) {
    throw new Unusable(`the file has ${bytes(file.size)}`,
      `files of up to ${bytes(DECODED_MOST)} can be opened: shorten it`);
  }
  const samples = await decoded(file);
  return checked({
    ...made([samples], `${file.name.replace(/\.[^.]*$/, "")}.wav`), note: "converted to 16 kHz mono WAV by the page",
  });
}

/** Convert blocks of 16-bit samples at `RATE`, from the microphone. */
export function ofBlocks(blocks) {
  const one = made(blocks, "recording.wav");
  if (one.seconds < 0.2) throw new Unusable("nothing was recorded", "speak, then stop the recording");
  return checked(one);
}

function made(blocks, name) {
  const samples = joined(blocks);
  return { file: wavOf(samples, RATE), name, seconds: samples.length / RATE, note: "16 kHz mono WAV" };
}

function checked(recording) {
  if (recording.file.size <= MOST) return recording;
  throw new Unusable(`the recording is too long: ${bytes(recording.file.size)} as WAV`,
    `the server accepts ${bytes(MOST)}, about 13 minutes: shorten it`);
}

async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, RATE); // decodes to its own rate
  let buffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Unusable("this browser cannot decode the file as audio", "choose WAV, MP3, M4A, Ogg, WebM or FLAC");
  }
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  const mixed = channels[0].map((_, at) => channels.reduce((sum, one) => sum + one[at], 0) / channels.length);
  return toSixteen(mixed);
}
