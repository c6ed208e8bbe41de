import { auditEntry } from "../../core/audit-entry.ts";
import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChainHead, Mutation } from "../../kv/store.ts";
import { brokenBecause, type Recorded, START } from "../audit/chain.ts";
import { baseOf, checkpointFault, checkpointKey, checkpointsOf, newCheckpoint, type StoredCheckpoint } from "../audit/checkpoints.ts";
import { checkpoint } from "../audit/entity.ts";
import { counted, tenantsOf, tenantsOnHold } from "./records.ts";
import { cutoffOf, isOld, type KeepRule, type Task } from "./rules.ts";

/** Entries that one commit deletes. Only the chain is locked for them, not their keys. */
const BATCH = 500;

/** Old entries of audit chains. A chain is deleted from its beginning, and never its last entry. */
export class OldAuditEntries {
  constructor(private readonly work: UnitOfWork, private readonly rule: KeepRule) {}

  /** One batch of each chain among the oldest entries. The page is read again while its chains get shorter. */
  async step(task: Task, limit: number): Promise<Task> {
    const field = this.rule.after;
    const page = await this.work.store.query({
      entity: auditEntry,
      where: [{ field, to: this.#cutoff() }],
      orderBy: [{ field, direction: "asc" }],
      limit,
      ...(task.after === null ? {} : { cursor: task.after }),
    });
    let deleted = 0;
    for (const scope of new Set(page.entries.map(({ tenantId }) => tenantId))) {
      deleted += await this.#purge(scope);
      if (deleted >= BATCH) break;
    }
    if (deleted > 0) return { ...task, scanned: task.scanned + deleted, deleted: task.deleted + deleted };
    return { ...task, after: page.cursor, isDone: page.cursor === null, scanned: task.scanned + page.entries.length };
  }

  /** What a run would delete: all old entries but those of tenants on hold and the last of each chain. */
  async count(task: Task): Promise<Task> {
    const { store } = this.work;
    const where = [{ field: this.rule.after, to: this.#cutoff() }];
    const [groups, held] = await Promise.all([
      store.aggregate({ entity: auditEntry, where, groupBy: ["tenantId"] }),
      tenantsOnHold(this.work),
    ]);
    let deleted = 0;
    for (const { group: [scope = null], count } of groups) {
      if (scope !== null && held.includes(scope)) continue;
      const { head, checkpoints } = await this.#recorded(scope);
      deleted += Math.min(count, (head?.seq ?? 0) - (baseOf(checkpoints)?.seq ?? 0) - 1);
    }
    return { ...task, isDone: true, scanned: groups.reduce((sum, { count }) => sum + count, 0), deleted };
  }

  /** Deletes the next batch of a chain, and leaves a checkpoint in the same commit. Returns the number of entries. */
  async #purge(scope: string | null): Promise<number> {
    const { work, rule } = this;
    try {
      const { result } = await work.transact(async () => {
        const [recorded, tenants] = await Promise.all([this.#recorded(scope), tenantsOf(work, [{ tenantId: scope }])]);
        const last = tenants.held.has(scope) ? null : await this.#lastOf(scope, recorded);
        if (!last) return { done: { deleted: 0 }, resultOf: null };
        const base = await newCheckpoint(scope, { kind: "base", ...last, takenAt: work.now() }, {
          key: work.platform.auditKey,
          isLive: tenants.isLive(scope),
        });
        const mutations: Mutation[] = [
          { op: "purgeChain", entity: auditEntry, scope, ...last, before: this.#cutoff() },
          new Collection(checkpoint, work.store).set(base),
          ...recorded.checkpoints.filter(({ seq }) => seq < last.seq).map(({ id }) => ({ op: "delete" as const, key: id })),
        ];
        const deleted = last.seq - (baseOf(recorded.checkpoints)?.seq ?? 0);
        return {
          commit: { ...await counted(work, rule.entity, deleted), checks: tenants.checks, mutations, result: { deleted } },
          resultOf: null,
        };
      });
      return result.deleted;
    } catch (error) {
      // Another process deletes from the chain.
      if (isInnkeepError(error, "write_conflict") || isInnkeepError(error, "append_only")) return 0;
      throw error;
    }
  }

  /** The last entry of the next batch. Null if nothing is old, or if the chain is not valid: it is then evidence, and kept. */
  async #lastOf(scope: string | null, recorded: Recorded): Promise<Pick<ChainHead, "seq" | "hash"> | null> {
    const { store, platform: { auditKey, logger } } = this.work;
    let link: Pick<ChainHead, "seq" | "hash"> = baseOf(recorded.checkpoints) ?? START;
    const first = link.seq;
    for (const one of recorded.checkpoints) {
      const fault = await checkpointFault(one, scope, auditKey);
      if (fault === null) continue;
      logger.error("audit_chain_broken", { scope: scope ?? "", key: one.id, reason: fault });
      return null;
    }
    const { entries } = await store.query({ entity: auditEntry, scope, orderBy: [{ field: "seq", direction: "asc" }], limit: BATCH });
    for (const { key, value } of entries) {
      if (link.seq + 1 >= (recorded.head?.seq ?? 0) || !isOld(value, this.rule.after, this.#cutoff())) break;
      const reason = await brokenBecause(key, value as JsonObject, link, recorded);
      if (reason !== null) {
        logger.error("audit_chain_broken", { scope: scope ?? "", key, reason });
        return null;
      }
      link = { seq: link.seq + 1, hash: String((value as JsonObject)["hash"]) };
    }
    return link.seq === first ? null : { seq: link.seq, hash: link.hash };
  }

  async #recorded(scope: string | null): Promise<Recorded> {
    const [checkpoints, head] = await Promise.all([checkpointsOf(this.work.store, scope), this.work.store.chainHead(scope)]);
    return { head, checkpoints };
  }

  #cutoff(): string {
    return cutoffOf(this.rule.days, this.work.context.clock.now());
  }
}

/** Writes a checkpoint of the head of each chain that grew, so that a chain that is cut is found even if its head is rewritten. */
export async function checkpointHeads(work: UnitOfWork, task: Task, limit: number): Promise<Task> {
  const heads = await work.store.chainHeads({ ...(task.after === null ? {} : { after: task.after }), limit });
  const known = await work.store.mget(heads.map(({ scope, seq }) => checkpointKey(scope || null, seq)));
  for (const [i, head] of heads.entries()) if (!known[i]) await checkpointHead(work, head);
  return { ...task, after: heads.at(-1)?.scope ?? null, isDone: heads.length < limit };
}

async function checkpointHead(work: UnitOfWork, { scope: name, seq, hash }: ChainHead): Promise<void> {
  const scope = name || null;
  try {
    await work.transact(async () => {
      const [checkpoints, tenants] = await Promise.all([checkpointsOf(work.store, scope), tenantsOf(work, [{ tenantId: scope }])]);
      if (!await isContinued(work, scope, seq, checkpoints)) return { done: {}, resultOf: null };
      const { platform: { auditKey: key } } = work;
      const record = await newCheckpoint(scope, { kind: "head", seq, hash, takenAt: work.now() }, { key, isLive: tenants.isLive(scope) });
      const replaced = checkpoints.filter(({ kind }) => kind === "head").map(({ id }) => ({ op: "delete" as const, key: id }));
      const mutations: Mutation[] = [new Collection(checkpoint, work.store).set(record), ...replaced];
      const checks = [...tenants.checks, ...checkpoints.map(({ id, version }) => ({ key: id, version }))];
      return { commit: { checks, mutations, audit: "none", result: {} }, resultOf: null };
    });
  } catch (error) {
    // The chain changes, or its tenant was deleted meanwhile: the next run writes the checkpoint.
    if (!isInnkeepError(error, "write_conflict") && !isInnkeepError(error, "tenant_deleted")) throw error;
  }
}

/** Whether the chain still passes through its checkpoints. Otherwise they are evidence, and none of them is replaced. */
async function isContinued(
  work: UnitOfWork,
  scope: string | null,
  seq: number,
  checkpoints: readonly StoredCheckpoint[],
): Promise<boolean> {
  const { store, platform: { auditKey, logger } } = work;
  for (const one of checkpoints) {
    const fault = one.seq > seq
      ? "the recorded head of the chain is before this entry"
      : await checkpointFault(one, scope, auditKey) ?? await absence(one);
    if (fault === null) continue;
    logger.error("audit_chain_broken", { scope: scope ?? "", key: one.id, reason: fault });
    return false;
  }
  return true;

  async function absence({ kind, seq: at, hash }: StoredCheckpoint): Promise<string | null> {
    if (kind === "base") return null;
    const { entries: [found] } = await store.query({ entity: auditEntry, scope, where: [{ field: "seq", in: [at] }], limit: 1 });
    return (found?.value as JsonObject | undefined)?.["hash"] === hash ? null : "the chain does not contain this entry";
  }
}
