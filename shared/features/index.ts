import type { AnyEntity } from "../kv/define.ts";
import { matchKey } from "../kv/define.ts";
import { adminUser } from "./admins/entity.ts";
import { auditEntry } from "../core/audit-entry.ts";
import { domainClaim, subdomainClaim } from "./tenants/claims.ts";
import { idempotencyRecord } from "../core/idempotency-record.ts";
import { outboxEvent } from "../core/outbox-event.ts";
import { plan } from "./plans/entity.ts";
import { subscription } from "./subscriptions/entity.ts";
import { tenant } from "./tenants/entity.ts";
import { usageRecord } from "./usage/entity.ts";

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
