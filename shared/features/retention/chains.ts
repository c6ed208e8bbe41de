import { auditEntry } from "../../core/audit-entry.ts";
import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { isSegment } from "../../kv/key.ts";
import type { Entry, Mutation } from "../../kv/store.ts";
import { archiveChain } from "../audit/archive.ts";
import { brokenBecause, type Recorded, START } from "../audit/chain.ts";
import { baseOf, checkpointsOf, newCheckpoint } from "../audit/checkpoints.ts";
import { checkpoint } from "../audit/entity.ts";
import { isContinued } from "./heads.ts";
import { counted } from "./records.ts";
import { cutoffOf, isOld, type KeepRule, ruleFor, type Task } from "./rules.ts";
import { type Counts, type Old, sumOf } from "./subjects.ts";
import { tenantsOf } from "./tenants.ts";

/** Entries that one commit deletes. Only the chain is locked for them, not their keys. */
const BATCH = 500;
/** Pages of one step among chains of which nothing can be deleted, such as those of tenants on hold. */
const MAX_PAGES = 10;
/** No further chain is begun after this time of a step, because an upload to the archive may be slow. */
const MAX_STEP_MS = 10_000;

/** Old entries of audit chains. A chain is deleted from its beginning, and never its last entry. */
export class OldAuditEntries implements Old {
  constructor(private readonly work: UnitOfWork, private readonly rule: KeepRule, private readonly rules: readonly KeepRule[]) {}

  /** One batch of each chain among the oldest entries, or of the tenant's chain. */
  async step(task: Task, _limit: number, tenantId?: string): Promise<Task> {
    if (tenantId === undefined) return await this.#stepAll(task);
    const deleted = await this.#purge(tenantId);
    const kept = deleted === 0 && await this.#ownOf([{ tenantId }]) > 0 ? await this.#old(tenantId) : 0;
    return { ...task, isDone: deleted === 0, scanned: task.scanned + deleted + kept, deleted: task.deleted + deleted };
  }

  /** A page is read again while its chains get shorter. Each chain is tried once in a step. */
  async #stepAll(task: Task): Promise<Task> {
    const field = this.rule.after;
    const cutoff = task.cutoff ?? this.#cutoff();
    const tried = new Set<string | null>();
    const { clock } = this.work.context;
    const endMs = clock.now() + MAX_STEP_MS;
    let now: Task = { ...task, cutoff };
    for (let pages = 0; pages < MAX_PAGES && !now.isDone; pages++) {
      const page = await this.work.store.query({
        entity: auditEntry,
        where: [{ field, to: cutoff }],
        orderBy: [{ field, direction: "asc" }],
        limit: BATCH,
        ...(now.after === null ? {} : { cursor: now.after }),
      });
      let deleted = 0;
      for (const scope of new Set(page.entries.map(({ tenantId }) => tenantId))) {
        if (tried.has(scope)) continue;
        tried.add(scope);
        deleted += await this.#purge(scope);
        if (deleted >= BATCH || (deleted > 0 && clock.now() >= endMs)) break;
      }
      if (deleted > 0) return { ...now, scanned: now.scanned + deleted, deleted: now.deleted + deleted };
      now = { ...now, after: page.cursor, isDone: page.cursor === null, scanned: now.scanned + await this.#ownOf(page.entries) };
    }
    return now;
  }

  /** The number of entries that the rule is for. */
  async #ownOf(entries: readonly Pick<Entry, "tenantId">[]): Promise<number> {
    if (this.rules.length === 1 || entries.length === 0) return entries.length;
    const tenants = await tenantsOf(this.work, entries);
    return entries.filter(({ tenantId }) => ruleFor(this.rules, tenantId, tenants.planOf(tenantId)) === this.rule).length;
  }

  async count(held: ReadonlySet<string>, tenantId: string): Promise<Counts> {
    const scanned = await this.#old(tenantId);
    return { scanned, deleted: held.has(tenantId) ? 0 : await this.#deletable(tenantId, scanned) };
  }

  async #old(scope: string): Promise<number> {
    return await this.work.store.count({ entity: auditEntry, scope, where: [{ field: this.rule.after, to: this.#cutoff() }] });
  }

  /** All old entries but those of tenants on hold and the last of each chain. */
  async countAll(held: ReadonlySet<string>, others: readonly string[]): Promise<Counts> {
    const where = [{ field: this.rule.after, to: this.#cutoff() }];
    const other = new Set(others);
    const groups = (await this.work.store.aggregate({ entity: auditEntry, where, groupBy: ["tenantId"] }))
      .map(({ group: [scope = null], count }) => ({ scope, count })).filter(({ scope }) => scope === null || !other.has(scope));
    const free = groups.filter(({ scope }) => scope === null || !held.has(scope));
    const { deleted } = await sumOf(free, async ({ scope, count }) => ({ scanned: count, deleted: await this.#deletable(scope, count) }));
    return { scanned: groups.reduce((sum, { count }) => sum + count, 0), deleted };
  }

  /** How many of the chain's old entries are before its last one. */
  async #deletable(scope: string | null, old: number): Promise<number> {
    if (old === 0) return 0;
    const { head, checkpoints } = await this.#recorded(scope);
    return Math.max(0, Math.min(old, (head?.seq ?? 0) - (baseOf(checkpoints)?.seq ?? 0) - 1));
  }

  /** Deletes the next batch of a chain, and leaves a checkpoint in the same commit. Returns the number of entries. */
  async #purge(scope: string | null): Promise<number> {
    const { work, rule } = this;
    try {
      const { result } = await work.transact(async () => {
        const [recorded, tenants] = await Promise.all([this.#recorded(scope), tenantsOf(work, [{ tenantId: scope }])]);
        const isFree = !tenants.held.has(scope) && ruleFor(this.rules, scope, tenants.planOf(scope)) === rule;
        const old = isFree ? await this.#batch(scope, recorded) : [];
        const last = old.at(-1);
        if (!last) return { done: { deleted: 0 }, resultOf: null };
        const link = { seq: Number(last["seq"]), hash: String(last["hash"]) };
        const base = await newCheckpoint(scope, { kind: "base", ...link, takenAt: work.now() }, {
          key: work.platform.auditKey,
          isLive: tenants.isLive(scope),
        });
        // Before the commit: what is not in the archive is not deleted.
        if (rule.action === "archive") await archiveChain(work.platform.archive, old, base);
        const mutations: Mutation[] = [
          { op: "purgeChain", entity: auditEntry, scope, ...link, before: this.#cutoff() },
          new Collection(checkpoint, work.store).set(base),
          ...recorded.checkpoints.filter(({ seq }) => seq < link.seq).map(({ id }) => ({ op: "delete" as const, key: id })),
        ];
        return {
          commit: { ...await counted(work, rule, old.length), checks: tenants.checks, mutations, result: { deleted: old.length } },
          resultOf: null,
        };
      });
      return result.deleted;
    } catch (error) {
      // Since the decision. The next one leaves a checkpoint without a tenant.
      if (isInnkeepError(error, "tenant_deleted")) return await this.#purge(scope);
      // Another process deletes from the chain, or the server's clock is behind and the entries are not old enough by it.
      if (isInnkeepError(error, "write_conflict") || isInnkeepError(error, "append_only")) return 0;
      throw error;
    }
  }

  /** The next entries to delete. None if nothing is old, or if the chain is not valid: it is then evidence, and kept. */
  async #batch(scope: string | null, recorded: Recorded): Promise<JsonObject[]> {
    const { store, platform: { logger } } = this.work;
    if (!await isContinued(this.work, scope, recorded)) return [];
    let link = baseOf(recorded.checkpoints) ?? START;
    const batch: JsonObject[] = [];
    const { entries } = await store.query({ entity: auditEntry, scope, orderBy: [{ field: "seq", direction: "asc" }], limit: BATCH });
    for (const { key, value } of entries) {
      if (link.seq + 1 >= (recorded.head?.seq ?? 0) || !isOld(value, this.rule.after, this.#cutoff())) break;
      const entry = value as JsonObject;
      const reason = await brokenBecause(key, entry, link, recorded);
      if (reason !== null) {
        logger.error("audit_chain_broken", { scope: scope ?? "", key, reason });
        return [];
      }
      link = { ...link, seq: link.seq + 1, hash: String(entry["hash"]) };
      batch.push(entry);
    }
    return batch;
  }

  async #recorded(scope: string | null): Promise<Recorded> {
    if (scope !== null && !isSegment(scope)) return { head: null, checkpoints: [] };
    const [checkpoints, head] = await Promise.all([checkpointsOf(this.work.store, scope), this.work.store.chainHead(scope)]);
    return { head, checkpoints };
  }

  #cutoff(): string {
    return cutoffOf(this.rule.days, this.work.context.clock.now());
  }
}
