import { auditEntry } from "../../core/audit-entry.ts";
import { Collection, type Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import { tenant } from "../tenants/entity.ts";
import { type AuditSink, auditSink } from "./entity.ts";
import { accepted, failed, fitting, requestOf, type SentEntry, SETTLED_AFTER_MS } from "./rules.ts";

const BATCH_ENTRIES = 200;
const TIMEOUT_MS = 15_000;

/**
 * Sends the next entries of one sink and stores the position after them. A process that ends in between has sent entries whose
 * position is not stored: they are sent again, so the receiver gets each entry at least once. A sink that has sent the last entry of a
 * deleted tenant is deleted.
 */
export async function sendNext(work: UnitOfWork, id: string): Promise<void> {
  const sinks = new Collection(auditSink, work.store);
  const sink = await sinks.get(keyOf(auditSink, { id }));
  if (!sink?.enabled) return;
  // Before the entries: the deletion is the last one of a chain.
  const isGone = sink.tenantId !== undefined && await work.store.get(keyOf(tenant, { id: sink.tenantId })) === null;
  const { entries, more } = await entriesAfter(work, sink);
  if (isGone && entries.length === 0) return void await new Records(auditSink, work).remove(id, {}, "audit-sink.deleted");
  const sent = fitting(entries);
  const [oldest] = sent;
  const error = oldest ? await send(work, sink, sent) : null;
  const next = entries[sent.length]?.value["timestamp"] ?? more;
  await work.transact(async () => {
    const before = await sinks.get(keyOf(auditSink, { id }));
    // Another run has sent the same entries, or the sink was changed: its position is the one that counts.
    if (!before?.enabled || before.position.key !== sink.position.key) return { done: {}, resultOf: null };
    const { version: _, ...record } = before;
    const nowMs = work.context.clock.now();
    const after = error === null
      ? accepted(record, sent, next === undefined ? undefined : String(next), nowMs)
      : failed(record, error, String(oldest?.value["timestamp"]), nowMs);
    return { commit: { changes: [{ entity: auditSink, before, after }], audit: "none", result: {} }, resultOf: null };
  });
}

/** Sends entries in one request. Returns why the receiver has not accepted them, else null. */
async function send({ platform }: UnitOfWork, sink: Stored<typeof auditSink>, entries: readonly SentEntry[]): Promise<string | null> {
  const token = String(await platform.secrets.open(keyOf(auditSink, sink), "sealedToken", sink.sealedToken));
  const { headers, body } = requestOf(sink.kind, token, entries);
  const result = await platform.outbound.send({
    method: "POST",
    url: sink.url,
    headers: { ...headers, "content-type": "application/json", "user-agent": "Innkeep-Audit/1" },
    body: new TextEncoder().encode(body),
    timeoutMs: TIMEOUT_MS,
    maxBodyBytes: 1_024,
  });
  // What the receiver says is not kept, because it may repeat the token.
  if (!result.ok) return `${result.code}: ${result.message}`;
  return result.status >= 200 && result.status < 300 ? null : `The receiver responded with status ${result.status}.`;
}

/** The next entries, and the time of the one after them if there is one. */
async function entriesAfter(work: UnitOfWork, sink: AuditSink): Promise<{ readonly entries: SentEntry[]; readonly more?: string }> {
  return sink.tenantId === undefined ? await ofAllChains(work, sink) : await ofOneChain(work, sink.tenantId, sink);
}

/** In the order of `seq`, which has no gaps and whose entries become visible in this order. */
async function ofOneChain({ store }: UnitOfWork, scope: string, { position }: AuditSink) {
  const page = await store.query({
    entity: auditEntry,
    scope,
    where: [{ field: "seq", from: position.seq + 1 }],
    orderBy: [{ field: "seq", direction: "asc" }],
    limit: BATCH_ENTRIES + 1,
  });
  return cut(page.entries);
}

/** In the order of their times and keys, up to those that are settled. */
async function ofAllChains({ store, context }: UnitOfWork, { position }: AuditSink) {
  const settled = isoTime(context.clock.now() - SETTLED_AFTER_MS);
  const found: SentEntry[] = [];
  let cursor: string | null = null;
  if (settled <= position.timestamp) return cut(found);
  do {
    const page: Awaited<ReturnType<typeof store.query>> = await store.query({
      entity: auditEntry,
      scope: "any",
      where: [{ field: "timestamp", from: position.timestamp, to: settled }],
      orderBy: [{ field: "timestamp", direction: "asc" }],
      limit: BATCH_ENTRIES + 1,
      ...(cursor === null ? {} : { cursor }),
    });
    found.push(...page.entries.map(entryOf).filter((each) => isAfter(each, position)));
    cursor = page.cursor;
  } while (cursor !== null && found.length <= BATCH_ENTRIES);
  return cut(found);
}

/** Entries with the same time are in the order of their keys. */
function isAfter({ key, value }: SentEntry, position: AuditSink["position"]): boolean {
  return String(value["timestamp"]) > position.timestamp || key > position.key;
}

function cut(
  found: readonly { readonly key: string; readonly value: unknown }[],
): { readonly entries: SentEntry[]; readonly more?: string } {
  const [next] = found.slice(BATCH_ENTRIES);
  return {
    entries: found.slice(0, BATCH_ENTRIES).map(entryOf),
    ...(next ? { more: String((next.value as JsonObject)["timestamp"]) } : {}),
  };
}

function entryOf({ key, value }: { readonly key: string; readonly value: unknown }): SentEntry {
  return { key, value: value as JsonObject };
}
