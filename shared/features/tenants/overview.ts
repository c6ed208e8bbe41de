import { z } from "zod";
import type { Stored } from "../../core/collection.ts";
import { periodOf } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import { component, exampleOf, recordOf } from "../../core/schemas.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { alert } from "../alerts/entity.ts";
import { entitlementsOf } from "../entitlements/reads.ts";
import { type EntitlementsView, entitlementsView, viewAt } from "../entitlements/view.ts";
import { plan } from "../plans/entity.ts";
import { subscription } from "../subscriptions/entity.ts";
import { type Usage, usageOf } from "../usage/reads.ts";
import { usageView } from "../usage/view.ts";
import { tenant } from "./entity.ts";

/** The data of a tenant's overview page. */
export interface TenantOverview {
  readonly tenant: Stored<typeof tenant>;
  /** Null if the tenant's plan does not exist, which only an import can cause. */
  readonly plan: Stored<typeof plan> | null;
  readonly subscription: Stored<typeof subscription> | null;
  /** With what decides each, so that a gift is visible beside the revenue. */
  readonly entitlements: EntitlementsView | null;
  /** Every metric of the current month, as in the list of usage. */
  readonly usage: Usage[];
  /** The newest open alerts. */
  readonly alerts: Stored<typeof alert>[];
}

const MAX_ALERTS = 100;

export const overview = component(
  "TenantOverview",
  z.object({
    tenant: recordOf(tenant),
    plan: recordOf(plan).nullable(),
    subscription: recordOf(subscription).nullable(),
    entitlements: entitlementsView.nullable(),
    usage: z.array(usageView).meta({ description: "Every metric of the current month." }),
    alerts: z.array(recordOf(alert)).meta({ description: `The open usage alerts, at most ${MAX_ALERTS}, the newest first.` }),
  }),
  () => ({
    tenant: exampleOf(recordOf(tenant)),
    plan: exampleOf(recordOf(plan)),
    subscription: exampleOf(recordOf(subscription)),
    entitlements: exampleOf(entitlementsView),
    usage: [exampleOf(usageView)],
    alerts: [exampleOf(recordOf(alert))],
  }),
);

/** Null if there is no such tenant. Its plan, subscription, entitlements, usage and alerts are read concurrently. */
export async function overviewOf(work: UnitOfWork, tenantId: string): Promise<TenantOverview | null> {
  const found = await new Records(tenant, work).get(tenantId);
  if (!found) return null;
  const [itsPlan, itsSubscription, record, { usage }, { records: alerts }] = await Promise.all([
    new Records(plan, work).get(found.plan),
    new Records(subscription, work).get(found.id),
    entitlementsOf(work, found.id),
    usageOf(work, found.id, periodOf(work.context.clock.now())),
    new Records(alert, work).list({
      scope: found.id,
      where: [{ field: "triggered", in: [true] }],
      orderBy: [{ field: "triggeredAt", direction: "desc" }],
      limit: MAX_ALERTS,
    }),
  ]);
  const entitlements = record && viewAt(record, work.now());
  return { tenant: found, plan: itsPlan, subscription: itsSubscription, entitlements, usage, alerts };
}
