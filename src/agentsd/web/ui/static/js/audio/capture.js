// The microphone: opened, resampled to the server's rate, passed on in blocks; and what to do where there is none.

import { loudness, toSixteen } from "./pcm.js";
import { Resampler } from "./resampler.js";

/** Why there is no sound from a microphone. `message`: what is wrong; `hint`: what to do. */
class NoMicrophone extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

const REASONS = {
  NotAllowedError: [
    "the browser may not use the microphone", "allow it in the browser's settings for this address, then try again",
  ],
  NotFoundError: ["no microphone was found", "connect one, then try again"],
  NotReadableError: [
    "the microphone is in use by another program, or the system refuses it", "close the other program, then try again",
  ],
};

const ABSENT = new Set(["NotFoundError", "OverconstrainedError"]);

/** Return whether this page may request a microphone at all. */
const canListen = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * `onBlock(samples, level)` with 16-bit mono at `rate` and a loudness of 0 to 1; `onEnd()` where the device is removed.
 * `device`: an id, "" for the system's own choice, which also replaces a device that is not there.
 * Resolves with `{stop()}`. Throws `NoMicrophone`.
 */
export async function listen({ rate, onBlock, onEnd = () => {}, device = "" }) {
  const stream = await opened(device);
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "agentsd-tap");
    const resampler = new Resampler(context.sampleRate, rate);
    node.port.onmessage = ({ data }) => onBlock(toSixteen(resampler.take(data)), loudness(data));
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // which gets silence
    await context.resume();
  } catch {
    close(stream, context);
    throw new NoMicrophone("the browser cannot record", "use a current browser, and reload the page");
  }
  stream.getAudioTracks()[0].addEventListener("ended", () => { close(stream, context); onEnd(); });
  return { stop: () => close(stream, context) };
}

async function opened(device) {
  if (!canListen()) {
    throw new NoMicrophone(
      "browsers give a microphone to secure pages only, and this page came over plain http from another machine",
      "open it over https, or as http://localhost (for example through an SSH tunnel)",
    );
  }
  try {
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    const wanted = device ? { ...audio, deviceId: { exact: device } } : audio;
    return await navigator.mediaDevices.getUserMedia({ audio: wanted });
  } catch (error) {
    if (device && ABSENT.has(error.name)) return opened("");
    const [message, hint] = REASONS[error.name] ?? [
      "the microphone cannot be opened", "check whether another program uses it",
    ];
    throw new NoMicrophone(message, hint);
  }
}

function close(stream, context) {
  stream.getTracks().forEach((track) => track.stop());
  if (context.state !== "closed") context.close();
}
