// One stream of /api/events, with what happens to it. It runs in a page, or in the worker that pages share.

const KINDS = ["hello", "changed", "condition", "run", "resync"];

/** What a page does to find what it missed. */
export const RESYNC = { version: null, slugs: [] };

/** `tell(kind, detail)` for each event, and `tell("stream", state)`: "connecting", "open", "closed" or "off". */
export class Source {
  /** @type {EventSource | null} */
  stream = null;
  state = "off";
  lost = false; // events may have been missed

  /** @param {(kind: string, detail: any) => void} tell */
  constructor(tell) { this.tell = tell; }

  open() {
    if (this.stream) return;
    const stream = new EventSource("/api/events");
    this.stream = stream;
    for (const kind of KINDS) stream.addEventListener(kind, (event) => this.tell(kind, JSON.parse(event.data)));
    stream.onerror = () => {
      this.lost = true;
      this.turn(stream.readyState === EventSource.CLOSED ? "closed" : "connecting");
    };
    stream.onopen = () => {
      this.turn("open");
      if (this.lost) this.tell("resync", RESYNC);
      this.lost = false;
    };
  }

  close() {
    this.stream?.close();
    this.stream = null;
    this.lost = false;
    this.state = "off";
  }

  /** Open a stream that was refused or is lost once more, now: a browser waits longer after each failure. */
  again() {
    if (this.state === "open") return;
    this.close();
    this.lost = true;
    this.open();
  }

  turn(state) {
    this.state = state;
    this.tell("stream", state);
  }
}
