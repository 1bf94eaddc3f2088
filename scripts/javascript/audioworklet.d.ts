// What Web Audio defines in an audio worklet only; TypeScript's library of the DOM lacks it.

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
