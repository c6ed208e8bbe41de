import type { JobItem, JobRun } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { DeadLetterService, type StoredDeadLetter } from "./dead-letters.ts";
import { isAttempted, isOutage } from "./rules.ts";

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

/** What the steps of one call of a job get. */
export class ItemRunner {
  readonly errors: ItemError[] = [];
  readonly #letters: DeadLetterService;

  constructor(private readonly job: string, private readonly work: UnitOfWork, private readonly dryRun: boolean) {
    this.#letters = new DeadLetterService(work);
  }

  run(cursor: JsonObject | null, limit: number): JobRun {
    return { work: this.work, cursor, limit, dryRun: this.dryRun, each: (items, handle) => this.#each(items, handle) };
  }

  async #each<T extends JobItem>(items: readonly T[], handle: (item: T) => Promise<unknown>): Promise<number> {
    if (items.length === 0) return 0;
    const letters = await this.#letters.ofItems(this.job, items);
    let handled = 0;
    for (const [i, item] of items.entries()) {
      const letter = letters[i] ?? null;
      if (!isAttempted(letter, this.work.now())) continue;
      if (this.dryRun || await this.#attempt(item, letter, handle)) handled++;
    }
    return handled;
  }

  async #attempt<T extends JobItem>(item: T, letter: StoredDeadLetter | null, handle: (item: T) => Promise<unknown>): Promise<boolean> {
    try {
      await handle(item);
    } catch (error) {
      if (isOutage(error)) throw error;
      const { error: recorded, attempts, status } = await this.#letters.recordFailure(this.job, item, error);
      const failure = { item: item.id, code: recorded.code, message: recorded.message };
      this.errors.push(failure);
      this.work.platform.logger.warn("job_item_failed", { job: this.job, ...failure, attempts, status });
      return false;
    }
    if (letter) await this.#letters.forget(letter);
    return true;
  }
}
