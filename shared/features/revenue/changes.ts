import { periodOf } from "../../core/periods.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { newNonce } from "../../kernel/ids.ts";
import { keyOf } from "../../kv/define.ts";
import type { Tenant } from "../tenants/entity.ts";
import { movement } from "./entity.ts";
import { difference, kindOf, revenueOf } from "./rules.ts";

/**
 * The movement of revenue that a change of a tenant makes, for the same commit: a list of one, or of none. `before` is null for a new
 * tenant. Call it within every decision that changes a tenant's `mrr` or status.
 */
export async function movementChanges(work: UnitOfWork, before: Tenant | null, after: Tenant): Promise<Change[]> {
  const [was, is] = [revenueOf(before), revenueOf(after)];
  const kind = kindOf(was, is, before !== null && was === 0 && is > 0 && await hadRevenue(work, before));
  if (kind === null) return [];
  const place = { tenantId: after.id, timestamp: work.now() };
  const id = keyOf(movement, { ...place, nonce: newNonce() });
  const month = periodOf(work.context.clock.now());
  return [{ entity: movement, before: null, after: { id, ...place, month, kind, amount: difference(is, was) } }];
}

/** Whether a tenant without revenue had some before. One on a free plan is looked up. */
async function hadRevenue({ store }: UnitOfWork, { id, status }: Tenant): Promise<boolean> {
  if (status === "suspended" || status === "cancelled") return true;
  return status !== "pending" && (await store.list({ prefix: `movement:${id}`, limit: 1, keysOnly: true })).entries.length > 0;
}
