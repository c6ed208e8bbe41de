import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check } from "../../kv/store.ts";
import { type Plan, plan } from "../plans/entity.ts";
import { isTrialPlan } from "../subscriptions/rules.ts";
import { tenant, TENANT_STATUSES } from "../tenants/entity.ts";
import { currentSettings, type StoredSettings } from "./current.ts";
import type { PlatformSettings } from "./entity.ts";

/** Throws `signups_disabled` while no tenants may be created. */
export function assertSignUps({ enableSignups }: Pick<PlatformSettings, "enableSignups">): void {
  if (enableSignups) return;
  throw new InnkeepError("signups_disabled", "New tenants cannot be created at present. A platform admin can set enableSignups to true.");
}

/** Throws `trials_disabled` if a trial would start while none may. */
export function assertTrials({ enableTrials }: Pick<PlatformSettings, "enableTrials">, starts: boolean): void {
  if (enableTrials || !starts) return;
  throw new InnkeepError(
    "trials_disabled",
    "Trials cannot be started at present. Choose another status, or a plan that is paid from the start.",
  );
}

/**
 * The check that a plan takes one more tenant. A tenant's own user cannot count in a commit, so that moves of several tenants at the
 * same instant are counted one by one only for the platform's callers. Throws `plan_full`.
 */
export async function placeOnPlan(
  work: UnitOfWork,
  { maxTenantsPerPlan }: Pick<PlatformSettings, "maxTenantsPerPlan">,
  planId: string,
): Promise<Check[]> {
  const most = Object.hasOwn(maxTenantsPerPlan, planId) ? maxTenantsPerPlan[planId] : undefined;
  if (most === undefined) return [];
  const where = [{ field: "plan", in: [planId] }, { field: "status", in: TENANT_STATUSES.filter((status) => status !== "cancelled") }];
  if (await work.platform.records.count({ entity: tenant, where }) >= most) {
    throw new InnkeepError(
      "plan_full",
      `Plan ${planId} has its maximum of ${most} tenants. Choose another plan, or raise maxTenantsPerPlan.`,
    );
  }
  return work.context.tenantId === null ? [{ key: keyOf(plan, { id: planId }), entity: tenant, where, atMost: most - 1 }] : [];
}

/** What the settings say of a tenant's move to another plan. Throws `trials_disabled`, `plan_full`. */
export async function entryTo(
  work: UnitOfWork,
  to: Plan,
): Promise<{ readonly settings: StoredSettings; readonly checks: readonly Check[] }> {
  const settings = await currentSettings(work);
  assertTrials(settings, isTrialPlan(to));
  return { settings, checks: await placeOnPlan(work, settings, to.id) };
}
