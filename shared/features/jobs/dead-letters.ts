import type { Stored } from "../../core/collection.ts";
import type { JobItem } from "../../core/job.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { randomFraction } from "../../kernel/backoff.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Entry } from "../../kv/store.ts";
import { type DeadLetter, deadLetter } from "./entity.ts";
import * as rules from "./rules.ts";

export type StoredDeadLetter = Stored<typeof deadLetter>;

/** The items that jobs could not handle. */
export class DeadLetterService extends EntityService<typeof deadLetter> {
  constructor(work: UnitOfWork) {
    super(work, deadLetter);
  }

  /** The letters of a job's items, in their order; null for an item that has not failed. */
  async ofItems(job: string, items: readonly JobItem[]): Promise<(StoredDeadLetter | null)[]> {
    const ids = await Promise.all(items.map(({ id }) => letterId(job, id)));
    const entries = await this.work.store.mget(ids.map((id) => this.records.key({ id })));
    return entries.map((entry, i) => this.#read(entry ?? null, this.#newLetter(ids[i] ?? "", job, items[i])));
  }

  /** A letter that does not match its declaration, for example after a change in the database, begins anew: it must not stop the job. */
  #read(entry: Entry | null, replacement: DeadLetter): StoredDeadLetter | null {
    return entry && (this.records.readIfValid(entry) ?? { ...replacement, version: entry.version } as StoredDeadLetter);
  }

  #newLetter(id: string, job: string, item: JobItem | undefined): DeadLetter {
    const tenant = item?.tenantId ? { tenant: item.tenantId } : {};
    const error = { code: "internal", message: "" };
    return {
      id,
      job,
      item: (item?.id ?? "").slice(0, MAX_ITEM),
      ...tenant,
      status: "retrying",
      attempts: 0,
      error,
      createdAt: this.work.now(),
    };
  }

  /** Records a failed attempt. The attempt is bookkeeping of the program, so it is not audited. */
  async recordFailure(job: string, item: JobItem, error: unknown, isCounted = true): Promise<DeadLetter> {
    const id = await letterId(job, item.id);
    const { result } = await this.work.transact(async () => {
      const first = this.#newLetter(id, job, item);
      const before = this.#read(await this.work.store.get(this.records.key({ id })), first);
      // Dropped while it was being handled.
      if (before?.status === "dropped") return { done: before, resultOf: null };
      const { version: _, ...known } = before ?? { ...first, version: "" };
      const nowMs = this.work.context.clock.now();
      const after = { ...rules.failedItem(known, error, randomFraction(), nowMs, isCounted), updatedAt: this.work.now() } as DeadLetter;
      return { commit: { changes: [{ entity: deadLetter, before, after }], audit: "none", result: after }, resultOf: null };
    });
    return result;
  }

  /** Removes the letter of an item that was handled in the end. */
  async forget(letter: StoredDeadLetter): Promise<void> {
    await this.work.transact(async () => {
      const before = this.#read(await this.work.store.get(this.records.key(letter)), letter);
      if (!before) return { done: {}, resultOf: null };
      return { commit: { changes: [{ entity: deadLetter, before, after: null }], audit: "none", result: {} }, resultOf: null };
    });
  }

  /** Handles a dead item again in the next run. Null if there is no such dead letter. */
  async requeue(id: string, options: ChangeOptions = {}): Promise<StoredDeadLetter | null> {
    return await this.records.change(
      id,
      options,
      "dead-letter.requeued",
      (before) => ({ record: rules.requeued(before, this.work.now()) }),
    );
  }

  /** Drops the item: it is not handled again. The record stays until its retention ends. Returns whether there was one. */
  override async delete(id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.change(id, options, "dead-letter.dropped", (before) => ({ record: rules.dropped(before) })) !== null;
  }
}

/** The longest key of a record. */
const MAX_ITEM = 512;

async function letterId(job: string, item: string): Promise<string> {
  return `${job}.${(await sha256Hex(item)).slice(0, 24)}`;
}
