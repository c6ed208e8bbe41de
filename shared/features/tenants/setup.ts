import type { z } from "zod";
import { domainClaim, subdomainClaim } from "./claims.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant } from "./entity.ts";
import type { Tenant } from "./entity.ts";
import type { tenantCreate } from "./input.ts";
import { METRICS, usageRecord } from "../usage/entity.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { Clock } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { FieldError } from "../../kernel/errors.ts";
import { newId } from "../../kernel/ids.ts";
import { keyOf } from "../../kv/define.ts";
import { RESERVED_TENANT_IDS } from "../../kv/key.ts";
import { domainProblem, heldDomainProblem, heldSubdomainProblem, type HostRules, subdomainProblem } from "./host-names.ts";
import { monthlyRevenue } from "../../core/money.ts";
import { addInterval, periodOf } from "../../core/periods.ts";
import { limitOf } from "../usage/rules.ts";
import { emptyUsage } from "../plans/subscribers.ts";
import type { StoredPlan } from "../plans/subscribers.ts";
import type { Change } from "../../core/unit-of-work.ts";

/** Days of a trial when its plan names none (platform settings' default). */
export const TRIAL_DAYS = 14;
const DAY_MS = 86_400_000;

/** The record of a new tenant, whose names are checked. */
export function newTenant(data: z.output<typeof tenantCreate>, plan: StoredPlan, clock: Clock): Tenant {
  const nowMs = clock.now();
  const now = isoTime(nowMs);
  const trialDays = plan.trialDays ?? TRIAL_DAYS;
  const status = data.status ?? (plan.trialDays ? "trial" : "active");
  if (status === "suspended" && !data.suspensionReason) throw missingReason();
  if (status !== "suspended" && data.suspensionReason !== undefined) throw strayReason();
  const { mrr, usagePercent = 0, ...given } = data;
  return {
    ...given,
    id: data.id ?? newId("tn", nowMs),
    plan: plan.id,
    status,
    usagePercent,
    mrr: mrr ?? monthlyRevenue(plan),
    mrrSource: mrr === undefined ? "plan" : "explicit",
    created: now.slice(0, 10),
    createdAt: now,
    updatedAt: now,
    ...(status === "trial" ? { trialEndsAt: data.trialEndsAt ?? isoTime(nowMs + trialDays * DAY_MS) } : {}),
    ...(status === "suspended" ? { suspendedAt: now, suspendedFrom: "active" as const } : {}),
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
}

export function missingReason(): InnkeepError {
  return errors.validation([{ path: "/suspensionReason", message: "is needed to suspend a tenant", code: "required" }]);
}

export function strayReason(): InnkeepError {
  return errors.validation([{ path: "/suspensionReason", message: "stands only beside a suspension", code: "not_applicable" }]);
}

interface Names {
  readonly id?: string | undefined;
  readonly subdomain?: string | undefined;
  readonly customDomain?: string | undefined;
}

/** Subdomain, custom domain and id of a tenant, each problem with its pointer. */
export function assertNames({ id, subdomain, customDomain }: Names, hosts: HostRules): void {
  const problems: FieldError[] = [];
  const add = (path: string, message: string | null) => {
    if (message !== null) problems.push({ path, message, code: "invalid" });
  };
  if (id !== undefined && RESERVED_TENANT_IDS.has(id)) add("/id", `${id} is reserved`);
  if (subdomain !== undefined) add("/subdomain", subdomainProblem(subdomain) ?? heldSubdomainProblem(subdomain, hosts));
  if (customDomain !== undefined) add("/customDomain", domainProblem(customDomain) ?? heldDomainProblem(customDomain, hosts));
  if (problems.length > 0) throw errors.validation(problems);
}

/** Everything a new tenant starts with, for one commit: itself, its claims, subscription and usage records. */
export function setupChanges(record: Tenant, plan: StoredPlan, clock: Clock): Change[] {
  const now = isoTime(clock.now());
  const period = periodOf(clock.now());
  const statuses = { trial: "trialing", cancelled: "cancelled" } as const;
  const end = record.status === "trial" && record.trialEndsAt && record.trialEndsAt > now
    ? record.trialEndsAt
    : addInterval(now, plan.interval);
  const sub = {
    id: newId("sub", clock.now()),
    tenantId: record.id,
    planId: plan.id,
    status: record.status === "trial" || record.status === "cancelled" ? statuses[record.status] : "active" as const,
    currentPeriodStart: now,
    currentPeriodEnd: end,
    cancelAtPeriodEnd: false,
    createdAt: now,
    updatedAt: now,
    ...(record.status === "cancelled" ? { cancelledAt: now } : {}),
  };
  return [
    { entity: tenant, before: null, after: record },
    ...claimChanges(null, record, now),
    { entity: subscription, before: null, after: sub },
    ...METRICS.map((metric) => ({
      entity: usageRecord,
      before: null,
      after: emptyUsage(record.id, metric, period, limitOf(plan.limits, metric), now),
    })),
  ];
}

/** New names are claimed in the same commit; a name somebody holds is a conflict on the claim's key. */
export function claimChanges(before: Tenant | null, after: Tenant, createdAt: string): Change[] {
  const { id: tenantId, subdomain, customDomain } = after;
  return [
    ...(subdomain === before?.subdomain
      ? []
      : [{ entity: subdomainClaim, before: null, after: { label: subdomain, tenantId, createdAt } }]),
    ...(customDomain === undefined || customDomain === before?.customDomain
      ? []
      : [{ entity: domainClaim, before: null, after: { hostname: customDomain, tenantId, createdAt } }]),
  ];
}

/** A lost claim as the error a caller understands. */
export function refuseClaim(record: Tenant): (conflict: string) => InnkeepError | undefined {
  return (conflict) => {
    if (conflict === keyOf(subdomainClaim, { label: record.subdomain })) {
      return new InnkeepError("subdomain_taken", `the subdomain ${record.subdomain} is taken`);
    }
    if (record.customDomain !== undefined && conflict === keyOf(domainClaim, { hostname: record.customDomain })) {
      return new InnkeepError("domain_taken", `the domain ${record.customDomain} is taken`);
    }
    return undefined;
  };
}
