import { auditEntry } from "../../core/audit-entry.ts";
import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { isSegment } from "../../kv/key.ts";
import type { ChainHead, Entry, Mutation } from "../../kv/store.ts";
import type { Recorded } from "../audit/chain.ts";
import { baseOf, checkpointFault, checkpointKey, checkpointsOf, newCheckpoint, resigned } from "../audit/checkpoints.ts";
import { type Checkpoint, checkpoint } from "../audit/entity.ts";
import type { Task } from "./rules.ts";
import { tenantsOf } from "./tenants.ts";

/** Heads that are read at once: of most, the checkpoint exists. */
const PAGE_HEADS = 500;

/** Writes a checkpoint of the head of each chain that grew, so that a chain that is cut is found even if its head is rewritten. */
export async function checkpointHeads(work: UnitOfWork, task: Task, limit: number): Promise<Task> {
  const heads = await work.store.chainHeads({ ...(task.after === null ? {} : { after: task.after }), limit: PAGE_HEADS });
  // Only a statement in the database can have made a chain of another scope. It must not stop the checkpoints of others.
  const sound = heads.filter(({ scope }) => scope === "" || isSegment(scope));
  const known = await work.store.mget(sound.map(({ scope, seq }) => checkpointKey(scope || null, seq)));
  const grown = sound.filter((_, i) => !known[i]);
  for (const head of grown.slice(0, limit)) await checkpointHead(work, head);
  const last = grown.length > limit ? grown[limit - 1] : heads.at(-1);
  return { ...task, after: last?.scope ?? null, isDone: last === heads.at(-1) && heads.length < PAGE_HEADS };
}

async function checkpointHead(work: UnitOfWork, { scope: name, seq, hash }: ChainHead): Promise<void> {
  const scope = name || null;
  try {
    await work.transact(async () => {
      const [checkpoints, tenants] = await Promise.all([checkpointsOf(work.store, scope), tenantsOf(work, [{ tenantId: scope }])]);
      if (!await isContinued(work, scope, { head: { seq, hash }, checkpoints })) return { done: {}, resultOf: null };
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

/** Signs checkpoints with the current key that have the signature of the previous key, or none if that is the previous state. */
export async function signAgain(work: UnitOfWork, task: Task, limit: number): Promise<Task> {
  const { store } = work;
  const cursor = task.after === null ? {} : { cursor: task.after };
  const page = await store.list({ prefix: "checkpoint", limit, ...cursor });
  let signed = 0;
  for (const entry of page.entries) if (await signOne(work, entry)) signed++;
  return { ...task, after: page.cursor, isDone: page.cursor === null, scanned: task.scanned + signed };
}

/** Returns whether the checkpoint got a new signature. */
async function signOne(work: UnitOfWork, { key, value, version }: Entry): Promise<boolean> {
  const parsed = checkpoint.schema.safeParse(value);
  const record = parsed.success ? await resigned({ ...parsed.data, id: key }, work.platform) : null;
  if (!record) return false;
  try {
    const mutations = [new Collection(checkpoint, work.store).set(record)];
    await work.transact(() => ({
      commit: { checks: [{ key, version }], mutations, attempts: 1, audit: "none", result: {} },
      resultOf: null,
    }));
    return true;
  } catch (error) {
    // It was replaced meanwhile, by one that the current key signed.
    if (isInnkeepError(error, "write_conflict")) return false;
    throw error;
  }
}

/** Whether the chain still passes through its checkpoints. Otherwise they are evidence, and none of them is replaced. */
export async function isContinued(work: UnitOfWork, scope: string | null, { head, checkpoints }: Recorded): Promise<boolean> {
  const { store, platform } = work;
  const base = baseOf(checkpoints)?.seq ?? 0;
  for (const one of checkpoints) {
    const fault = one.seq > (head?.seq ?? 0)
      ? "the recorded head of the chain is before this entry"
      : await checkpointFault(one, scope, platform) ?? await absence(one);
    if (fault === null) continue;
    platform.logger.error("audit_chain_broken", { scope: scope ?? "", key: one.id, reason: fault });
    return false;
  }
  return true;

  async function absence({ seq, hash }: Checkpoint): Promise<string | null> {
    if (seq <= base) return null;
    const { entries: [found] } = await store.query({ entity: auditEntry, scope, where: [{ field: "seq", in: [seq] }], limit: 1 });
    return (found?.value as JsonObject | undefined)?.["hash"] === hash ? null : "the chain does not contain this entry";
  }
}
