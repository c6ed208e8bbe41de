/**
 * Where lines go. Both return how many bytes were taken, and throw when the reader has gone or there is no room;
 * what was taken before they throw is not known.
 */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
  writeSync(bytes: Uint8Array): number;
}

/** How long a line waits for others to be written with it: what a `kill -9` can lose. */
const BATCH_MS = 5;
const BATCH_CHARS = 64 * 1024;
/** What waits for a reader that has stopped reading; lines beyond it are lost. */
const MAX_WAITING_CHARS = 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Collects lines and writes those of a few milliseconds in one call. A reader that is slow, has gone or has no room
 * costs lines and nothing else: how many at most, and why, is told as soon as one can be written again.
 */
export class LineWriter {
  readonly #sink: ByteSink;
  readonly #lostLine: (count: number, reason: string) => string;
  #waiting: string[] = [];
  #waitingChars = 0;
  #lost = 0;
  #reason = "";
  /** A batch may have failed in the middle of a line: what follows begins on one of its own. */
  #isMidLine = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> | null = null;
  #isDue = false;

  constructor(sink: ByteSink, lostLine: (count: number, reason: string) => string) {
    this.#sink = sink;
    this.#lostLine = lostLine;
  }

  /** `atOnce`: does not wait for others. */
  line(text: string, atOnce = false): void {
    if (this.#waitingChars >= MAX_WAITING_CHARS) return this.#lose(1, "the reader is too slow");
    this.#waiting.push(text);
    this.#waitingChars += text.length + 1;
    if (atOnce || this.#waitingChars >= BATCH_CHARS) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), BATCH_MS);
  }

  /** Resolves when everything is written or lost. */
  async flush(): Promise<void> {
    while (this.#writing || this.#waiting.length > 0) {
      this.#start();
      await this.#writing;
    }
  }

  /** Writes what waits before it returns, for the moment when the process ends. */
  flushSync(): void {
    if (this.#waiting.length === 0) return;
    const batch = this.#take();
    try {
      while (batch.rest.length > 0) batch.took(this.#sink.writeSync(batch.rest));
      this.#isMidLine = false;
    } catch (error) {
      this.#fail(batch, error);
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing) return void (this.#isDue = true);
    this.#writing = this.#write().finally(() => {
      this.#writing = null;
      const isDue = this.#isDue && this.#waiting.length > 0;
      this.#isDue = false;
      if (isDue) this.#start();
    });
  }

  async #write(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const batch = this.#take();
    try {
      while (batch.rest.length > 0) batch.took(await this.#sink.write(batch.rest));
      this.#isMidLine = false;
    } catch (error) {
      this.#fail(batch, error);
    }
  }

  #take(): Batch {
    const head = (this.#isMidLine ? "\n" : "") + (this.#lost > 0 ? `${this.#lostLine(this.#lost, this.#reason)}\n` : "");
    const batch = new Batch(head, `${this.#waiting.join("\n")}\n`, this.#lost);
    this.#waiting = [];
    this.#waitingChars = 0;
    this.#lost = 0;
    return batch;
  }

  /** Nobody is left to tell it to but the next reader. */
  #fail(batch: Batch, error: unknown): void {
    this.#lose(batch.lostLines(), error instanceof Error ? error.message : String(error));
    this.#isMidLine = true;
  }

  #lose(count: number, reason: string): void {
    this.#lost += count;
    this.#reason = reason;
  }
}

/** Lines on their way, after a head that tells of lines lost before. */
class Batch {
  rest: Uint8Array;
  readonly #bytes: Uint8Array;
  readonly #headBytes: number;
  readonly #lostBefore: number;

  constructor(head: string, lines: string, lostBefore: number) {
    this.#bytes = this.rest = new TextEncoder().encode(head + lines);
    this.#headBytes = new TextEncoder().encode(head).length;
    this.#lostBefore = lostBefore;
  }

  took(count: number): void {
    this.rest = this.rest.subarray(count);
  }

  /** Lines that are not known to be written; those lost before too, when nobody has been told of them. */
  lostLines(): number {
    const written = this.#bytes.length - this.rest.length;
    const unwritten = this.#bytes.subarray(Math.max(written, this.#headBytes));
    return unwritten.reduce((count, byte) => byte === NEWLINE ? count + 1 : count, 0) + (written < this.#headBytes ? this.#lostBefore : 0);
  }
}
