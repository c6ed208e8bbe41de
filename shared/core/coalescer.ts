import { isInnkeepError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Logger } from "../kernel/logger.ts";
import type { Store } from "../kv/store.ts";

/** The default time between two writes of one record. */
const EVERY_MS = 5_000;
/** The default number of records that wait to be written. */
const MAX_RECORDS = 10_000;

export interface CoalescerOptions {
  /** At the service level: the counts of all tenants are written together. */
  readonly store: Store;
  readonly logger: Logger;
  /** Keeps the runtime alive until the promise settles, such as `EdgeRuntime.waitUntil`. */
  readonly background?: ((work: Promise<unknown>) => void) | undefined;
  readonly everyMs?: number;
  readonly maxRecords?: number;
}

interface Waiting {
  readonly by: Map<string, number>;
  set: JsonObject;
}

/** The record of a write that failed. */
interface Failure {
  readonly key: string;
  readonly isRepeated: boolean;
  readonly error: string;
}

/**
 * Counts uses of records in memory and adds them to the records in the background, so that a request neither waits for the count nor
 * fails with it. The first use is written at once, later ones together after `everyMs`. Concurrent processes add up exactly. A process
 * that is killed loses what it has not written. The writes are not audited.
 */
export class Coalescer {
  #waiting = new Map<string, Waiting>();
  #flushing: Promise<void> | null = null;
  #scheduled = false;
  #nextAt = 0;
  /** Counts for which there was no room, because the database is not available. */
  #dropped = 0;

  constructor(private readonly options: CoalescerOptions) {}

  /** Adds to top-level numbers of the record with this key, and sets members. Does nothing if the record does not exist when it is written. */
  count(key: string, by: Readonly<Record<string, number>>, set: JsonObject = {}): void {
    this.#wait(key, merged(this.#waiting.get(key), { by: new Map(Object.entries(by)), set }));
    this.#schedule();
  }

  /** Writes everything that waits. Does not throw: what could not be written waits on, and the log has the reason. */
  async flush(): Promise<void> {
    while (this.#flushing) await this.#flushing;
    this.#flushing = this.#write();
    await this.#flushing;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const delayMs = Math.max(0, this.#nextAt - performance.now());
    const due = new Promise<void>((resolve) => setTimeout(resolve, delayMs)).then(() => this.flush());
    this.options.background?.(due);
  }

  async #write(): Promise<void> {
    const { everyMs = EVERY_MS, logger } = this.options;
    if (this.#dropped > 0) logger.warn("counts_dropped", { dropped: this.#dropped });
    this.#dropped = 0;
    const taken = this.#waiting;
    this.#waiting = new Map();
    this.#nextAt = performance.now() + everyMs;
    // Started in one turn, the writes are one database call.
    const failures = await Promise.all([...taken].map(([key, counts]) => this.#writeOne(key, counts)));
    // One line for each cause: an outage fails all records for the same reason.
    const causes = new Map<string, Failure & { readonly records: number }>();
    for (const failure of failures.filter((each) => each !== null)) {
      const cause = `${failure.isRepeated} ${failure.error}`;
      const known = causes.get(cause) ?? { ...failure, records: 0 };
      causes.set(cause, { ...known, records: known.records + 1 });
    }
    for (const cause of causes.values()) logger.warn("count_failed", { ...cause });
    this.#flushing = null;
    this.#scheduled = false;
    if (this.#waiting.size > 0) this.#schedule();
  }

  /** Null if the counts were written. */
  async #writeOne(key: string, counts: Waiting): Promise<Failure | null> {
    try {
      await this.options.store.increment(key, [...counts.by].map(([name, by]) => ({ path: [name], by })), { merge: counts.set });
      return null;
    } catch (error) {
      // A count whose commit is unknown is not repeated: it could count twice.
      const isRepeated = !isInnkeepError(error, "commit_unknown") && isInnkeepError(error) && error.retryable;
      if (isRepeated) this.#wait(key, merged(counts, this.#waiting.get(key)));
      return { key, isRepeated, error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Keeps the counts for the next write, unless too many records wait. */
  #wait(key: string, counts: Waiting): void {
    const { maxRecords = MAX_RECORDS } = this.options;
    if (this.#waiting.has(key) || this.#waiting.size < maxRecords) this.#waiting.set(key, counts);
    else this.#dropped += 1;
  }
}

/** Both counts added up, with the members of the later one. */
function merged(earlier: Waiting | undefined, later: Waiting | undefined): Waiting {
  const by = new Map(earlier?.by);
  for (const [name, amount] of later?.by ?? []) by.set(name, (by.get(name) ?? 0) + amount);
  return { by, set: { ...earlier?.set, ...later?.set } };
}
