import type { Subscription } from "./entity.ts";
import type { TenantStatus } from "../tenants/entity.ts";
import { addInterval } from "../../core/periods.ts";
import type { Interval } from "../../core/periods.ts";

/** Ended at once; one that has ended stays as it is. */
export function ended(subscription: Subscription, now: string): Subscription {
  if (subscription.status === "cancelled") return subscription;
  return { ...subscription, status: "cancelled", cancelAtPeriodEnd: false, cancelledAt: now };
}

/** A cancellation taken back; one whose period is over too begins a new one now. */
export function resumed(subscription: Subscription, now: string, interval: Interval): Subscription {
  const { cancelledAt: _, ...rest } = subscription;
  const kept = { ...rest, cancelAtPeriodEnd: false } as Subscription;
  if (subscription.status !== "cancelled") return kept;
  const over = subscription.currentPeriodEnd <= now;
  return {
    ...kept,
    status: "active",
    ...(over ? { currentPeriodStart: now, currentPeriodEnd: addInterval(now, interval) } : {}),
  };
}

/**
 * What becomes of a tenant's subscription when the tenant moves to a status: a trial that goes live goes live
 * too, a cancelled tenant pays nothing more, a suspension leaves it. A tenant that comes back is `resumed`.
 */
export function followed(subscription: Subscription, to: TenantStatus, now: string): Subscription {
  if (to === "cancelled") return ended(subscription, now);
  return to === "active" && subscription.status === "trialing" ? { ...subscription, status: "active" } : subscription;
}
