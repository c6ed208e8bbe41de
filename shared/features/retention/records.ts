import { Collection, type Stored } from "../../core/collection.ts";
import type { Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import { type AnyEntity, familyOf, indexesOf, matchKey } from "../../kv/define.ts";
import type { Check, Entry, ListPage } from "../../kv/store.ts";
import { tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";
import { retentionRun } from "./entity.ts";
import { cutoffOf, isOld, type KeepRule, partsOf, type Task } from "./rules.ts";

const MAX_PAGE = 500;

/** Deletes the old records of one entity, page by page. The time of each record is its own field. */
export class OldRecords {
  constructor(private readonly work: UnitOfWork, private readonly entity: AnyEntity, private readonly rule: KeepRule) {}

  /** One page: by time with an index on it, else by key. */
  async step(task: Task, limit: number): Promise<Task> {
    const page = await this.#page(task.after, limit);
    const old = page.entries.filter((entry) => this.#isOld(entry));
    let deleted = 0;
    for (const part of partsOf(old)) deleted += await this.#delete(part);
    return {
      ...task,
      after: page.cursor,
      isDone: page.cursor === null,
      scanned: task.scanned + old.length,
      deleted: task.deleted + deleted,
    };
  }

  /** What a run would delete, counted in the database. */
  async count(task: Task): Promise<Task> {
    const { work: { store }, entity } = this;
    const where = [{ field: this.rule.after, to: this.#cutoff() }];
    const scanned = await store.count({ entity, where });
    let held = 0;
    if (scanned > 0 && entity.owner !== "platform") {
      for (const scope of await tenantsOnHold(this.work)) held += await store.count({ entity, where, scope });
    }
    return { ...task, isDone: true, scanned, deleted: scanned - held };
  }

  async #page(after: string | null, limit: number): Promise<ListPage> {
    const { work: { store }, entity, rule } = this;
    const cursor = after === null ? {} : { cursor: after };
    if (indexesOf(entity).some(([first]) => first === rule.after)) {
      const order = { field: rule.after, direction: "asc" } as const;
      return await store.query({ entity, where: [{ field: rule.after, to: this.#cutoff() }], orderBy: [order], limit, ...cursor });
    }
    return await store.list({ prefix: familyOf(entity), limit: Math.min(MAX_PAGE, 5 * limit), ...cursor });
  }

  /** One commit. It checks the versions of the records and of their tenants: a change meanwhile is seen. Returns the number. */
  async #delete(part: readonly Entry[]): Promise<number> {
    let isFirst = true;
    try {
      const { result } = await this.work.transact(async () => {
        const [found, tenants] = await Promise.all([
          isFirst ? part : this.work.store.mget(part.map(({ key }) => key)),
          tenantsOf(this.work, part),
        ]);
        isFirst = false;
        const gone = found.filter((entry) => entry !== null && this.#isOld(entry) && !tenants.held.has(entry.tenantId)) as Entry[];
        const result = { deleted: gone.length };
        if (gone.length === 0) return { done: result, resultOf: null };
        const checks = [...gone.map(({ key, version }) => ({ key, version })), ...tenants.checks];
        const mutations = gone.map(({ key }) => ({ op: "delete" as const, key }));
        return { commit: { ...await counted(this.work, this.rule.entity, gone.length), checks, mutations, result }, resultOf: null };
      });
      return result.deleted;
    } catch (error) {
      // Busy records are left to the next run.
      if (isInnkeepError(error, "write_conflict")) return 0;
      throw error;
    }
  }

  #cutoff(): string {
    return cutoffOf(this.rule.days, this.work.context.clock.now());
  }

  #isOld({ key, value }: Entry): boolean {
    return isOld(value, this.rule.after, this.#cutoff()) && matchKey(this.entity, key) !== null;
  }
}

/** The part of a commit that adds to what the run has deleted. The audit entry at the end of the run has the sum. */
export async function counted(work: UnitOfWork, type: string, deleted: number): Promise<Pick<Transaction<unknown>, "changes" | "audit">> {
  const before = await new Collection(retentionRun, work.store).get(type);
  const after = { type, startedAt: before?.startedAt ?? work.now(), deleted: (before?.deleted ?? 0) + deleted };
  return { changes: [{ entity: retentionRun, before, after }], audit: "none" };
}

/** The tenants of the entries that are under legal hold, and checks that none of the tenants changes before the commit. */
export async function tenantsOf(work: UnitOfWork, entries: readonly Pick<Entry, "tenantId">[]) {
  const records = new Collection(tenant, work.store);
  const ids = [...new Set(entries.map(({ tenantId }) => tenantId))].filter((id) => id !== null);
  const found = await records.getMany(ids.map((id) => records.key({ id })));
  const checks: Check[] = ids.map((id, i) => ({ key: records.key({ id }), version: found[i]?.version ?? null }));
  const held: ReadonlySet<string | null> = new Set(ids.filter((_, i) => isHeld(found[i] ?? null)));
  return { held, checks, isLive: (id: string | null) => found.some((record) => record?.id === id) };
}

/** The ids of all tenants under legal hold. */
export async function tenantsOnHold(work: UnitOfWork): Promise<string[]> {
  const records = new Collection(tenant, work.store);
  const held: string[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof records.list>> = await records.list({
      where: [{ field: "metadata", has: "legalHold" }],
      limit: MAX_PAGE,
      ...(cursor === null ? {} : { cursor }),
    });
    held.push(...page.records.filter(isHeld).map(({ id }) => id));
    cursor = page.cursor;
  } while (cursor !== null);
  return held;
}

function isHeld(record: Stored<typeof tenant> | null): boolean {
  return record !== null && isUnderLegalHold(record);
}
