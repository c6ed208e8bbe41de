import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Store } from "../../../shared/kv/store.ts";

/** A tenant record with the fields that lists are filtered and sorted by. */
export function tenantRecord(id: string, fields: JsonObject = {}): JsonObject {
  return {
    id,
    name: `Hotel ${id}`,
    subdomain: id.toLowerCase().replaceAll("_", "-"),
    plan: "Pro",
    status: "active",
    owner: `owner@${id.toLowerCase().replaceAll("_", "-")}.example`,
    ownerName: "Ada Auer",
    usagePercent: 0,
    mrr: 299,
    mrrSource: "plan",
    created: "2026-01-01",
    createdAt: "2026-01-01T00:00:00.000Z",
    ...fields,
  };
}

/** Stores tenants in commits of 1,000. */
export async function storeTenants(store: Store, records: readonly JsonObject[]): Promise<void> {
  for (let at = 0; at < records.length; at += 500) {
    await store.mset(records.slice(at, at + 500).map((record) => [`tenant:${String(record["id"])}`, record]));
  }
}

/** An audit entry as a commit passes it. The database adds `seq`, `prevHash` and `hash`. */
export function auditRecord(key: string, fields: JsonObject = {}): JsonObject {
  return {
    id: key,
    action: "tenant.updated",
    resource: "tenant",
    resourceId: "tn_x",
    actor: { type: "system", id: "system" },
    userId: "system",
    timestamp: "2026-03-01T12:00:00.000Z",
    contentHash: "c".repeat(64),
    ...fields,
  };
}

export const auditKey = (tenantId: string | null, nonce: string, at = "2026-03-01T12:00:00.000Z") =>
  tenantId === null ? `audit:${at}:${nonce}` : `audit:${tenantId}:${at}:${nonce}`;
