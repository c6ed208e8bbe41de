import { writeStandardOutput } from "./runtime.ts";

/** Writes bytes somewhere; returns how many were taken. */
export type Sink = (bytes: Uint8Array) => Promise<number>;

const MAX_WAITING_LINES = 2_000;
/** What a closed pipe and a closed terminal report. */
const CLOSED = ["EPIPE", "EIO", "EBADF"];

/**
 * Lines for whoever reads them. A reader that is slow, has gone or has no room left costs lines, never the program: a
 * line waits its turn, is left out when 2,000 wait already, and is dropped when it cannot be written.
 */
export class Output {
  #waiting: string[] = [];
  #leftOut = 0;
  #isClosed = false;
  #writing: Promise<void> | null = null;
  readonly #sink: Sink;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  line(text: string): void {
    if (this.#isClosed) return;
    if (this.#waiting.length >= MAX_WAITING_LINES) return void this.#leftOut++;
    this.#waiting.push(`${text}\n`);
    this.#writing ??= this.#write();
  }

  /** Resolves when everything is written, or the time is up. */
  async flush(timeoutMs = 1_000): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, timeoutMs));
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const lines = this.#waiting.splice(0);
      if (this.#leftOut > 0) lines.push(`(${this.#leftOut} lines were left out: the reader of this output was too slow)\n`);
      this.#leftOut = 0;
      await this.#writeAll(new TextEncoder().encode(lines.join("")));
    }
    this.#writing = null;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    try {
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await this.#sink(rest));
    } catch (error) {
      // Anything else, such as a full disk, may be over by the next line.
      if (CLOSED.includes(String((error as NodeJS.ErrnoException).code))) this.#isClosed = true;
    }
  }
}

export function standardOutput(): Output {
  return new Output(writeStandardOutput);
}
