import type { Clock } from "../kernel/clock.ts";

/** How long a process keeps what it has read. A change by another process is seen within this time. */
export const KEPT_MS = 10_000;

interface Kept<T> {
  readonly readAtMs: number;
  readonly loading: Promise<T>;
  /** Set when the read has ended. */
  value?: T;
}

/**
 * Values that a process keeps in memory for some seconds, by name, such as a record's key. Concurrent calls share one read. After
 * `forget`, a read that began before is not kept, so that a writer sees its own change at once.
 */
export class TimedCache<T> {
  readonly #kept = new Map<string, Kept<T>>();

  constructor(private readonly clock: Clock, private readonly maxEntries = 5_000) {}

  /** `load` gets the value that has become too old, and returns the same one if its version is still the present one. */
  async get(name: string, load: (old: T | undefined) => Promise<T>, maxAgeMs: number = KEPT_MS): Promise<T> {
    const kept = this.#kept.get(name);
    const ageMs = kept ? this.clock.now() - kept.readAtMs : Infinity;
    return await (kept && ageMs >= 0 && ageMs < maxAgeMs ? kept.loading : this.#load(name, load, kept?.value));
  }

  /** Drops the value. The next call reads it again. */
  forget(name: string): void {
    this.#kept.delete(name);
  }

  async #load(name: string, load: (old: T | undefined) => Promise<T>, old: T | undefined): Promise<T> {
    const entry: Kept<T> = { readAtMs: this.clock.now(), loading: load(old) };
    // The entry that was read first goes first.
    this.#kept.delete(name);
    const [first] = this.#kept.size >= this.maxEntries ? this.#kept.keys() : [];
    if (first !== undefined) this.#kept.delete(first);
    this.#kept.set(name, entry);
    try {
      return entry.value = await entry.loading;
    } catch (error) {
      if (this.#kept.get(name) === entry) this.#kept.delete(name);
      throw error;
    }
  }
}
