/**
 * The output of lines. Both functions return the number of bytes written. They throw if the output is closed or full; how much they
 * wrote before is then unknown.
 */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
  writeSync(bytes: Uint8Array): number;
}

/** How long a line waits for others to be written with it. A `kill -9` can lose lines of this time. */
const BATCH_MS = 5;
const BATCH_CHARS = 64 * 1024;
/** The maximum length of lines that wait for the output. Further lines are lost. */
const MAX_WAITING_CHARS = 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Collects lines and writes those of a few milliseconds in one call. If the output is slow, closed or full, lines are lost; callers
 * neither wait nor fail. The next successful write begins with the maximum number of lost lines and the reason.
 */
export class LineWriter {
  readonly #sink: ByteSink;
  readonly #lostLine: (count: number, reason: string) => string;
  #waiting: string[] = [];
  #waitingChars = 0;
  #lost = 0;
  #reason = "";
  /** Set after a failed batch, which may have ended within a line: the next batch begins with a line break. */
  #isMidLine = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> | null = null;
  #isDue = false;

  constructor(sink: ByteSink, lostLine: (count: number, reason: string) => string) {
    this.#sink = sink;
    this.#lostLine = lostLine;
  }

  /** Adds a line. With `atOnce` it is written without waiting for others. */
  line(text: string, atOnce = false): void {
    if (this.#waitingChars >= MAX_WAITING_CHARS) return this.#lose(1, "the reader is too slow");
    this.#waiting.push(text);
    this.#waitingChars += text.length + 1;
    if (atOnce || this.#waitingChars >= BATCH_CHARS) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), BATCH_MS);
  }

  /** Resolves when all lines are written or lost. */
  async flush(): Promise<void> {
    while (this.#writing || this.#waiting.length > 0) {
      this.#start();
      await this.#writing;
    }
  }

  /** Writes the waiting lines before it returns. For use when the process ends. */
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

  /** Counts the lines of the batch as lost, which the next batch reports. */
  #fail(batch: Batch, error: unknown): void {
    this.#lose(batch.lostLines(), error instanceof Error ? error.message : String(error));
    this.#isMidLine = true;
  }

  #lose(count: number, reason: string): void {
    this.#lost += count;
    this.#reason = reason;
  }
}

/** Lines of one write, after a head that reports lines lost before. */
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

  /** The number of lines that may not be written, and of those lost before if their report may not be written. */
  lostLines(): number {
    const written = this.#bytes.length - this.rest.length;
    const unwritten = this.#bytes.subarray(Math.max(written, this.#headBytes));
    return unwritten.reduce((count, byte) => byte === NEWLINE ? count + 1 : count, 0) + (written < this.#headBytes ? this.#lostBefore : 0);
  }
}
