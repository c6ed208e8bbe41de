/**
 * The stream that lines are written to. Both functions return how many bytes they wrote. They throw when the stream is
 * closed or the disk is full; how many bytes were written before that is unknown.
 */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
  writeSync(bytes: Uint8Array): number;
}

/** How long a line waits to be written with others. A `kill -9` can lose the lines of this time. */
const BATCH_MS = 5;
const BATCH_CHARS = 64 * 1024;
/** The limit of what waits for a reader that has stopped reading. Lines beyond it are lost. */
const MAX_WAITING_CHARS = 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Collects the lines of a few milliseconds and writes them in one call. When the stream is closed, full or not read,
 * lines are lost and the program continues. The next batch that can be written begins with `lostLine`: how many at most, and why.
 */
export class LineWriter {
  readonly #sink: ByteSink;
  readonly #lostLine: (count: number, reason: string) => string;
  #waiting: string[] = [];
  #waitingChars = 0;
  #lost = 0;
  #reason = "";
  /** A batch failed, perhaps in the middle of a line. The next one begins with a line break. */
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

  /** Resolves when every line is written or lost, or after `timeoutMs`. */
  async flush(timeoutMs = 1_000): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, timeoutMs));
    await Promise.race([this.#writeAll(), late]);
    clearTimeout(timer);
  }

  /** Writes the waiting lines synchronously, for the end of the process. */
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

  async #writeAll(): Promise<void> {
    while (this.#writing || this.#waiting.length > 0) {
      this.#start();
      await this.#writing;
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

  /** Counts the lines of a failed batch. The next batch reports them. */
  #fail(batch: Batch, error: unknown): void {
    this.#lose(batch.lostLines(), error instanceof Error ? error.message : String(error));
    this.#isMidLine = true;
  }

  #lose(count: number, reason: string): void {
    this.#lost += count;
    this.#reason = reason;
  }
}

/** The lines of one write, after a head that reports lines lost earlier. */
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

  /** The lines that may not have been written, and those lost earlier when their report was not written either. */
  lostLines(): number {
    const written = this.#bytes.length - this.rest.length;
    const unwritten = this.#bytes.subarray(Math.max(written, this.#headBytes));
    return unwritten.reduce((count, byte) => byte === NEWLINE ? count + 1 : count, 0) + (written < this.#headBytes ? this.#lostBefore : 0);
  }
}
