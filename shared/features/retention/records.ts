import { Collection } from "../../core/collection.ts";
import type { Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import { type AnyEntity, familyOf, indexesOf, matchKey } from "../../kv/define.ts";
import type { Condition, Entry, ListPage, Mutation } from "../../kv/store.ts";
import { anonymising, notAnonymised } from "./anonymity.ts";
import { retentionRun } from "./entity.ts";
import { cutoffOf, isOld, type KeepRule, partsOf, ruleFor, type Task } from "./rules.ts";
import { type Counts, type Old, sumOf } from "./subjects.ts";
import { tenantsOf } from "./tenants.ts";

const MAX_PAGE = 500;

/** Deletes old records of one entity by one of its rules, page by page. The time of each record is its own field. */
export class OldRecords implements Old {
  constructor(
    private readonly work: UnitOfWork,
    private readonly entity: AnyEntity,
    private readonly rule: KeepRule,
    private readonly rules: readonly KeepRule[],
  ) {}

  /** One page, by time with an index on it, else by key: of all tenants and the platform, or of one tenant. */
  async step(task: Task, limit: number, tenantId?: string): Promise<Task> {
    const cutoff = task.cutoff ?? this.#cutoff();
    const page = await this.#page(task.after, cutoff, limit, tenantId);
    const old = await this.#own(page.entries.filter((entry) => this.#isOld(entry)));
    let deleted = 0;
    for (const part of partsOf(old)) deleted += await this.#delete(part);
    return {
      ...task,
      after: page.cursor,
      cutoff: page.cursor && cutoff,
      isDone: page.cursor === null,
      scanned: task.scanned + old.length,
      deleted: task.deleted + deleted,
    };
  }

  /** What a run would delete, counted in the database. */
  async count(held: ReadonlySet<string>, tenantId?: string): Promise<Counts> {
    const scanned = await this.#count(tenantId);
    return { scanned, deleted: tenantId !== undefined && held.has(tenantId) ? 0 : scanned };
  }

  /** Those without the tenants `others`, which have rules of their own. Nothing is deleted of those on hold. */
  async countAll(held: ReadonlySet<string>, others: readonly string[]): Promise<Counts> {
    const all = await this.#count();
    if (all === 0 || this.entity.owner === "platform") return { scanned: all, deleted: all };
    const isOther = new Set(others);
    const kept = await sumOf([...new Set([...held, ...others])], async (id) => {
      const count = await this.#count(id);
      return { scanned: isOther.has(id) ? count : 0, deleted: count };
    });
    return { scanned: all - kept.scanned, deleted: all - kept.deleted };
  }

  async #count(scope?: string): Promise<number> {
    const where = [{ field: this.rule.after, to: this.#cutoff() }, ...this.#due()];
    return await this.work.store.count({ entity: this.entity, where, ...(scope === undefined ? {} : { scope }) });
  }

  async #page(after: string | null, cutoff: string, limit: number, scope?: string): Promise<ListPage> {
    const { work: { store }, entity, rule } = this;
    const cursor = after === null ? {} : { cursor: after };
    const of = { entity, ...cursor, ...(scope === undefined ? {} : { scope }) };
    if (indexesOf(entity).some(([first]) => first === rule.after)) {
      const order = { field: rule.after, direction: "asc" } as const;
      return await store.query({ ...of, where: [{ field: rule.after, to: cutoff }, ...this.#due()], orderBy: [order], limit });
    }
    const many = Math.min(MAX_PAGE, 5 * limit);
    return scope === undefined
      ? await store.list({ prefix: familyOf(entity), limit: many, ...cursor })
      : await store.query({ ...of, limit: many });
  }

  /** The entries that this rule is for. Without other rules, all of them. */
  async #own(entries: readonly Entry[]): Promise<readonly Entry[]> {
    if (this.rules.length === 1 || entries.length === 0) return entries;
    const tenants = await tenantsOf(this.work, entries);
    return entries.filter(({ tenantId }) => ruleFor(this.rules, tenantId, tenants.planOf(tenantId)) === this.rule);
  }

  /** One commit, which deletes or anonymises. It checks the versions of the records and of their tenants: a change meanwhile is seen. Returns the number. */
  async #delete(part: readonly Entry[]): Promise<number> {
    let isFirst = true;
    try {
      const { result } = await this.work.transact(async () => {
        const [found, tenants] = await Promise.all([
          isFirst ? part : this.work.store.mget(part.map(({ key }) => key)),
          tenantsOf(this.work, part),
        ]);
        isFirst = false;
        const isDue = (entry: Entry) =>
          this.#isOld(entry) && !tenants.held.has(entry.tenantId) &&
          ruleFor(this.rules, entry.tenantId, tenants.planOf(entry.tenantId)) === this.rule;
        const gone = found.filter((entry) => entry !== null && isDue(entry)) as Entry[];
        const mutations = gone.map((entry) => this.#mutation(entry)).filter((mutation) => mutation !== null);
        const result = { deleted: mutations.length };
        if (mutations.length === 0) return { done: result, resultOf: null };
        const checks = [...gone.map(({ key, version }) => ({ key, version })), ...tenants.checks];
        return { commit: { ...await counted(this.work, this.rule, mutations.length), checks, mutations, result }, resultOf: null };
      });
      return result.deleted;
    } catch (error) {
      // Busy records are left to the next run.
      if (isInnkeepError(error, "write_conflict")) return 0;
      throw error;
    }
  }

  #mutation(entry: Entry): Mutation | null {
    return this.rule.action === "anonymise"
      ? anonymising(new Collection(this.entity, this.work.store), entry)
      : { op: "delete", key: entry.key };
  }

  /** What the time does not say of the records that are due. */
  #due(): Condition[] {
    return this.rule.action === "anonymise" ? notAnonymised(this.entity) : [];
  }

  #cutoff(): string {
    return cutoffOf(this.rule.days, this.work.context.clock.now());
  }

  #isOld({ key, value }: Entry): boolean {
    return isOld(value, this.rule.after, this.#cutoff()) && matchKey(this.entity, key) !== null;
  }
}

/** The part of a commit that adds to what the run has deleted by the rule. The audit entry at its end has the sum. */
export async function counted(
  work: UnitOfWork,
  { entity: type, subject, name }: KeepRule,
  deleted: number,
): Promise<Pick<Transaction<unknown>, "changes" | "audit">> {
  const runs = new Collection(retentionRun, work.store);
  const before = await runs.get(runs.key({ type, subject, name }));
  const after = { type, subject, name, startedAt: before?.startedAt ?? work.now(), deleted: (before?.deleted ?? 0) + deleted };
  return { changes: [{ entity: retentionRun, before, after }], audit: "none" };
}
