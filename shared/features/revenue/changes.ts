import { periodOf } from "../../core/periods.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { newNonce } from "../../kernel/ids.ts";
import { keyOf } from "../../kv/define.ts";
import type { Tenant } from "../tenants/entity.ts";
import { movement } from "./entity.ts";
import { difference, kindOf, revenueOf } from "./rules.ts";

/**
 * The movement of revenue that a change of a tenant makes, for the same commit: a list of one, or of none. `before` is null for a new
 * tenant. Call it within every decision that changes a tenant's `mrr` or status. `had`: {@link hadRevenue}, if the caller has read it
 * with other records.
 */
export async function movementChanges(work: UnitOfWork, before: Tenant | null, after: Tenant, had?: boolean | null): Promise<Change[]> {
  const [was, is] = [revenueOf(before), revenueOf(after)];
  const kind = kindOf(was, is, before !== null && was === 0 && is > 0 && (had ?? await hadRevenue(work, before)));
  if (kind === null) return [];
  const place = { tenantId: after.id, timestamp: work.now() };
  const id = keyOf(movement, { ...place, nonce: newNonce() });
  const month = periodOf(work.context.clock.now());
  return [{ entity: movement, before: null, after: { id, ...place, month, kind, amount: difference(is, was) } }];
}

/** Whether a tenant without revenue had some before. One that was created as suspended or cancelled, or has a free plan, had none. */
export async function hadRevenue({ store }: UnitOfWork, { id, status }: Tenant): Promise<boolean> {
  return status !== "pending" && (await store.list({ prefix: `movement:${id}`, limit: 1, keysOnly: true })).entries.length > 0;
}
