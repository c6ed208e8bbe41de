import { Collection } from "../../core/collection.ts";
import type { AuditNote, Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { RESERVED_TENANT_IDS } from "../../kv/key.ts";
import { dataFault } from "./data-schema.ts";
import { customActions, declarationIn, undeclared } from "./declared.ts";
import { auditReceipt } from "./entity.ts";
import type { Item, Reported } from "./reported.ts";

/** What became of one reported entry. */
export type Outcome =
  | { readonly status: "accepted" | "duplicate" }
  | { readonly status: "rejected"; readonly error: FieldError };

/** The entries of one commit, which one chain's head is locked for. */
const MAX_IN_COMMIT = 100;

interface Valid {
  readonly at: number;
  readonly receipt: string;
  readonly contentHash: string;
  readonly note: AuditNote;
}

/** Writes reported entries, each once, in the chain of its tenant or of the platform. Returns the outcomes in order. */
export async function writeReported(work: UnitOfWork, items: readonly Item[]): Promise<Outcome[]> {
  const outcomes = new Array<Outcome>(items.length);
  const declared = await customActions(work, items.flatMap((item) => "entry" in item ? [item.entry.action] : []));
  const chains = new Map<string | null, Valid[]>();
  for (const [at, item] of items.entries()) {
    const error = "entry" in item ? faultOf(work, item.entry, declared) : item.error;
    if (error || !("entry" in item)) {
      outcomes[at] = { status: "rejected", error: error as FieldError };
      continue;
    }
    const tenantId = item.entry.tenantId ?? work.context.tenantId;
    const chain = chains.get(tenantId) ?? [];
    chain.push(await validOf(at, tenantId, item.entry, declared.get(item.entry.action)?.actionVersion ?? 1));
    chains.set(tenantId, chain);
  }
  for (const [tenantId, chain] of chains) {
    for (let from = 0; from < chain.length; from += MAX_IN_COMMIT) {
      const part = chain.slice(from, from + MAX_IN_COMMIT);
      const { result } = await work.transact(() => decideOn(work, tenantId, part));
      for (const [i, { at }] of part.entries()) outcomes[at] = result.outcomes[i] as Outcome;
    }
  }
  return outcomes;
}

function faultOf(work: UnitOfWork, { action, data, tenantId }: Reported, declared: Awaited<ReturnType<typeof customActions>>) {
  const own = work.context.tenantId;
  if (tenantId !== undefined && ((own !== null && tenantId !== own) || RESERVED_TENANT_IDS.has(tenantId))) return unknownTenant(tenantId);
  const declaration = declarationIn(declared.get(action));
  return declaration ? dataFault(data as JsonObject | undefined, declaration.dataSchema) : undeclared(action);
}

async function validOf(at: number, tenantId: string | null, entry: Reported, actionVersion: number): Promise<Valid> {
  const { id, source, action, resource, resourceId, time, actor, data } = entry;
  const reported = { id, source, ...(time === undefined ? {} : { time }), ...(actor === undefined ? {} : { actor }) };
  const [receipt, contentHash] = await Promise.all([sha256Hex(JSON.stringify([source, id])), sha256Hex(JSON.stringify(entry))]);
  const note: AuditNote = {
    action,
    actionVersion,
    resource,
    resourceId,
    reported,
    ...(tenantId === null ? {} : { tenantId }),
    ...(data === undefined ? {} : { data: data as JsonObject }),
  };
  return { at, receipt, contentHash, note };
}

/** Of concurrent senders of one entry, exactly one writes it: the commit checks that there is no receipt yet. */
async function decideOn(
  work: UnitOfWork,
  tenantId: string | null,
  part: readonly Valid[],
): Promise<Decision<{ readonly outcomes: readonly Outcome[] }>> {
  const receipts = new Collection(auditReceipt, work.store);
  const keys = part.map(({ receipt }) => receipts.key({ tenantId: tenantId ?? undefined, id: receipt }));
  const [found, tenant] = await Promise.all([
    receipts.getMany(keys),
    tenantId === null || work.context.tenantId !== null ? true : work.store.get(`tenant:${tenantId}`),
  ]);
  if (!tenant) {
    return { done: { outcomes: part.map(() => ({ status: "rejected", error: unknownTenant(tenantId ?? "") })) }, isFailure: true };
  }
  const seen = new Map<string, string>(found.flatMap((one) => one ? [[one.id, one.contentHash]] : []));
  const written: Valid[] = [];
  const outcomes = part.map((one): Outcome => {
    const earlier = seen.get(one.receipt);
    if (earlier !== undefined) return earlier === one.contentHash ? { status: "duplicate" } : { status: "rejected", error: MISMATCH };
    seen.set(one.receipt, one.contentHash);
    written.push(one);
    return { status: "accepted" };
  });
  if (written.length === 0) return { done: { outcomes }, resultOf: tenantId };
  const changes = written.map(({ receipt: id, contentHash }) => ({
    entity: auditReceipt,
    before: null,
    after: { id, contentHash, receivedAt: work.now(), ...(tenantId === null ? {} : { tenantId }) },
  }));
  return { commit: { changes, audit: written.map(({ note }) => note), result: { outcomes } }, resultOf: tenantId };
}

const MISMATCH: FieldError = {
  path: "/id",
  message: "must be the same entry as the one that was received with this source and id; use a new id for a new entry",
  code: "idempotency_mismatch",
};

function unknownTenant(id: string): FieldError {
  return { path: "/tenantId", message: errors.notFound("tenant", id.slice(0, 200)).message, code: "not_found" };
}
