import { Collection, type Stored } from "../../core/collection.ts";
import type { JobItem, JobRun } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { deadLetter } from "./entity.ts";
import { failedItem, isAttempted, isOutage } from "./rules.ts";

/** An item of this call that failed, for its response. */
export interface ItemError {
  readonly item: string;
  readonly code: string;
  readonly message: string;
}

/** The work that one call of the jobs function may do. */
export interface Budget {
  /** Items of all steps. With about 1 ms of CPU each, this keeps a call under the 2 s of an Edge Function. */
  readonly items: number;
  /** No step begins later. An Edge Function is ended after 150 s. */
  readonly ms: number;
}

export const CALL_BUDGET: Budget = { items: 1_000, ms: 50_000 };
/** Items of one step, between two saved cursors. */
export const STEP_ITEMS = 100;

/** What a job's step gets for one job and call. */
export class ItemRunner {
  readonly errors: ItemError[] = [];
  readonly #letters: Collection<typeof deadLetter>;

  constructor(private readonly job: string, private readonly work: UnitOfWork, private readonly dryRun: boolean) {
    this.#letters = new Collection(deadLetter, work.store);
  }

  run(cursor: JsonObject | null, limit: number): JobRun {
    return { work: this.work, cursor, limit, dryRun: this.dryRun, each: (items, handle) => this.#each(items, handle) };
  }

  async #each<T extends JobItem>(items: readonly T[], handle: (item: T) => Promise<unknown>): Promise<number> {
    if (items.length === 0) return 0;
    const ids = await Promise.all(items.map(({ id }) => letterId(this.job, id)));
    const letters = await this.#letters.getMany(ids.map((id) => this.#letters.key({ id })));
    let handled = 0;
    for (const [i, item] of items.entries()) {
      const letter = letters[i] ?? null;
      if (!isAttempted(letter, this.work.now())) continue;
      if (this.dryRun || await this.#attempt(ids[i] ?? "", item, letter, handle)) handled++;
    }
    return handled;
  }

  async #attempt<T extends JobItem>(
    id: string,
    item: T,
    letter: Stored<typeof deadLetter> | null,
    handle: (item: T) => Promise<unknown>,
  ): Promise<boolean> {
    try {
      await handle(item);
    } catch (error) {
      if (isOutage(error)) throw error;
      await this.#recordFailure(id, item, error);
      return false;
    }
    if (letter) await this.work.store.del(this.#letters.key({ id }));
    return true;
  }

  async #recordFailure(id: string, item: JobItem, error: unknown): Promise<void> {
    const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
    const { context: { clock }, platform: { logger } } = this.work;
    const { result } = await this.work.transact(async () => {
      const before = await this.#letters.get(id);
      const first = {
        id,
        job: this.job,
        item: item.id.slice(0, 512),
        ...(item.tenantId === null ? {} : { tenant: item.tenantId }),
        attempts: 0,
        createdAt: this.work.now(),
      };
      const { version: _, ...known } = before ?? { ...first, version: "" };
      const after = { ...failedItem(known, error, random / 2 ** 32, clock.now()), updatedAt: this.work.now() };
      return {
        commit: { changes: [{ entity: deadLetter, before, after }], audit: "none", result: after },
        resultOf: null,
      };
    });
    const failure = { item: item.id, code: result.error.code, message: result.error.message };
    this.errors.push(failure);
    logger.warn("job_item_failed", { job: this.job, ...failure, attempts: result.attempts, status: result.status });
  }
}

async function letterId(job: string, item: string): Promise<string> {
  return `${job}.${(await sha256Hex(item)).slice(0, 24)}`;
}
