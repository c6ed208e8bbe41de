/**
 * Turns by name, first come, first served, among the callers of one process. Those who lost a race for a record
 * take turns instead of racing again, so that none of them is refused because the others are faster.
 */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  constructor(private readonly maxWaitMs = 5_000) {}

  /** Whether anybody has or awaits the turn. */
  isTaken(name: string): boolean {
    return this.#last.has(name);
  }

  /** Runs the work when its turn comes, or after the longest wait without it. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name);
    let end: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => end = resolve);
    const last = (before ?? Promise.resolve()).then(() => mine);
    this.#last.set(name, last);
    try {
      if (before) await this.#atMost(before);
      return await work();
    } finally {
      end();
      if (this.#last.get(name) === last) this.#last.delete(name);
    }
  }

  async #atMost(wait: Promise<void>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([wait, new Promise<void>((resolve) => timer = setTimeout(resolve, this.maxWaitMs))]);
    clearTimeout(timer);
  }
}
