import type { AnyEntity } from "../kv/define.ts";
import { matchKey } from "../kv/define.ts";
import { adminUser } from "./admin-user.ts";
import { auditEntry } from "./audit-entry.ts";
import { domainClaim, subdomainClaim } from "./claims.ts";
import { idempotencyRecord } from "./idempotency-record.ts";
import { outboxEvent } from "./outbox-event.ts";
import { plan } from "./plan.ts";
import { subscription } from "./subscription.ts";
import { tenant } from "./tenant.ts";
import { usageRecord } from "./usage-record.ts";

/** Every declared entity. What is derived (families, columns, cascade, docs, tests) loops over this list. */
export const registry: readonly AnyEntity[] = [
  tenant,
  subdomainClaim,
  domainClaim,
  plan,
  subscription,
  usageRecord,
  auditEntry,
  adminUser,
  outboxEvent,
  idempotencyRecord,
];

/** The entity a key belongs to, or null when its pattern is not declared. */
export function entityOfKey(key: string): AnyEntity | null {
  return registry.find((entity) => matchKey(entity, key) !== null) ?? null;
}
