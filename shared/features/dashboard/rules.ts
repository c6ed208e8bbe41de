import { isoTime } from "../../kernel/clock.ts";
import type { AggregateRow } from "../../kv/store.ts";
import { REVENUE_STATUSES } from "../revenue/rules.ts";
import { TENANT_STATUSES, type TenantStatus } from "../tenants/entity.ts";

const DAY_MS = 86_400_000;

/** Tenants with something in common. */
export interface Tally {
  readonly tenants: number;
  /** Monthly revenue of the active and trial ones, in the major unit. */
  readonly mrr: number;
}

export interface TenantNumbers extends Tally {
  readonly byStatus: Readonly<Record<TenantStatus, Tally>>;
  /** Plans with tenants, those with the most first. */
  readonly byPlan: (Tally & { readonly plan: string })[];
}

/** The counts and sums by (status, plan), added up. Sums are exact decimals with at most 2 decimals. */
export function tenantNumbers(rows: readonly AggregateRow[]): TenantNumbers {
  const cells = rows.map(({ group: [status, plan], count, sum }) => ({
    status: status as TenantStatus,
    plan: String(plan),
    count,
    cents: REVENUE_STATUSES.includes(status as TenantStatus) ? Math.round(Number(sum) * 100) : 0,
  }));
  const tally = (of: typeof cells): Tally => ({
    tenants: of.reduce((total, { count }) => total + count, 0),
    mrr: of.reduce((total, { cents }) => total + cents, 0) / 100,
  });
  const byStatus = TENANT_STATUSES.map((status) => [status, tally(cells.filter((cell) => cell.status === status))] as const);
  const plans = [...new Set(cells.map(({ plan }) => plan))].map((plan) => ({ plan, ...tally(cells.filter((cell) => cell.plan === plan)) }));
  return {
    ...tally(cells),
    byStatus: Object.fromEntries(byStatus) as Record<TenantStatus, Tally>,
    byPlan: plans.sort((a, b) => b.tenants - a.tenants || (a.plan < b.plan ? -1 : 1)),
  };
}

/** The last `count` days in UTC up to the present one, `YYYY-MM-DD`. */
export function lastDays(count: number, nowMs: number): string[] {
  const days: string[] = [];
  for (let ms = nowMs; days.length < count;) {
    // Dates are formatted once a month.
    const last = isoTime(ms).slice(0, 10);
    const dayOfMonth = Number(last.slice(8));
    for (let day = dayOfMonth; day > 0 && days.length < count; day--) days.push(`${last.slice(0, 8)}${String(day).padStart(2, "0")}`);
    ms -= dayOfMonth * DAY_MS;
  }
  return days.reverse();
}

export interface DayCount {
  readonly day: string;
  readonly tenants: number;
}

/** Every day with its count, also without any. */
export function countsByDay(days: readonly string[], rows: readonly AggregateRow[]): DayCount[] {
  const counts = new Map(rows.map(({ group: [day], count }) => [day, count]));
  return days.map((day) => ({ day, tenants: counts.get(day) ?? 0 }));
}
