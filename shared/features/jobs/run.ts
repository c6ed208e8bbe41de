import { Collection } from "../../core/collection.ts";
import type { Blocks, Job, JobItem, JobRun } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { isInnkeepError, isOutage } from "../../kernel/errors.ts";
import { tenant } from "../tenants/entity.ts";
import { DeadLetterService, type StoredDeadLetter } from "./dead-letters.ts";
import { isAttempted } from "./rules.ts";

/** An item of this call that failed, for its response. */
export interface ItemError {
  readonly item: string;
  readonly code: string;
  readonly message: string;
}

/** The work that one call of the jobs function may do, shared by its jobs. */
export interface Budget {
  /** Items of all steps. With about 1 ms of CPU each, this keeps a call under the 2 s of an Edge Function. */
  readonly items: number;
  /** No step begins later. An Edge Function is ended after 150 s. */
  readonly ms: number;
}

export const CALL_BUDGET: Budget = { items: 1_000, ms: 50_000 };
/** Items of one step, between two saved cursors. */
export const STEP_ITEMS = 100;
/** What a step costs at least, for what it reads, in items. */
const MIN_STEP_ITEMS = 25;

/** What a step takes from the budget, in items. A step that handles many items at once costs no more than its limit. */
export function costOf(handled: number, limit: number): number {
  return Math.min(limit, Math.max(MIN_STEP_ITEMS, handled));
}

/** What the steps of one call of a job get. */
export class ItemRunner {
  readonly errors: ItemError[] = [];
  /** Items that the steps have tried. */
  attempted = 0;
  readonly #letters: DeadLetterService;

  constructor(private readonly job: Pick<Job, "name" | "uncounted">, private readonly work: UnitOfWork, private readonly dryRun: boolean) {
    this.#letters = new DeadLetterService(work);
  }

  run(cursor: JsonObject | null, limit: number): JobRun {
    return { work: this.work, cursor, limit, dryRun: this.dryRun, each: (items, handle, blocks) => this.#each(items, handle, blocks) };
  }

  async #each<T extends JobItem>(items: readonly T[], handle: (item: T) => Promise<unknown>, blocks?: Blocks<T>): Promise<number> {
    if (items.length === 0) return 0;
    const letters = await this.#letters.ofItems(this.job.name, items);
    const tried = items.map((item, i) => ({ item, letter: letters[i] ?? null }))
      .filter(({ letter }) => isAttempted(letter, this.work.now()));
    this.attempted += tried.length;
    if (this.dryRun) return tried.length;
    const single = blocks ? tried.filter(({ letter }) => letter !== null) : tried;
    const others = blocks ? tried.filter(({ letter }) => letter === null).map(({ item }) => item) : [];
    let handled = 0;
    for (let at = 0; blocks && at < others.length; at += blocks.size) {
      const block = others.slice(at, at + blocks.size);
      if (await this.#together(block, blocks)) handled += block.length;
      else single.push(...block.map((item) => ({ item, letter: null })));
    }
    for (const { item, letter } of single) if (await this.#attempt(item, letter, handle)) handled++;
    return handled;
  }

  /** False if the items have to be handled one by one, to find the one that fails. */
  async #together<T extends JobItem>(block: readonly T[], { handle }: Blocks<T>): Promise<boolean> {
    try {
      await handle(block);
      return true;
    } catch (error) {
      if (isOutage(error)) throw error;
      return false;
    }
  }

  async #attempt<T extends JobItem>(item: T, letter: StoredDeadLetter | null, handle: (item: T) => Promise<unknown>): Promise<boolean> {
    try {
      await handle(item);
    } catch (error) {
      if (isOutage(error)) throw error;
      if (await this.#isOfDeletedTenant(item, error)) {
        if (letter) await this.#letters.forget(letter);
        return false;
      }
      const isCounted = !this.job.uncounted?.some((code) => isInnkeepError(error, code));
      const { error: recorded, attempts, status } = await this.#letters.recordFailure(this.job.name, item, error, isCounted);
      const failure = { item: item.id, code: recorded.code, message: recorded.message };
      this.errors.push(failure);
      this.work.platform.logger.warn("job_item_failed", { job: this.job.name, ...failure, attempts, status });
      return false;
    }
    if (letter) await this.#letters.forget(letter);
    return true;
  }

  /** Whether the item failed because its tenant was deleted meanwhile. Then there is nothing to retry. */
  async #isOfDeletedTenant({ tenantId }: JobItem, error: unknown): Promise<boolean> {
    if (tenantId === null || !isInnkeepError(error)) return false;
    if (error.code === "tenant_deleted") return true;
    return error.code === "not_found" && await new Collection(tenant, this.work.store).get(tenantId) === null;
  }
}
