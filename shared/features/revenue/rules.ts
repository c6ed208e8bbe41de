import type { AggregateRow } from "../../kv/store.ts";
import type { Tenant, TenantStatus } from "../tenants/entity.ts";
import { MOVEMENT_KINDS, type MovementKind } from "./entity.ts";

/** The statuses whose tenants' `mrr` counts as revenue. */
export const REVENUE_STATUSES: readonly TenantStatus[] = ["active", "trial"];

/** The monthly revenue of a tenant, in the major unit. */
export function revenueOf(tenant: Pick<Tenant, "status" | "mrr"> | null): number {
  return tenant && REVENUE_STATUSES.includes(tenant.status) ? tenant.mrr : 0;
}

/** The kind of a change of revenue. `hadRevenue`: there was revenue at some time before. Null if nothing changes. */
export function kindOf(before: number, after: number, hadRevenue: boolean): MovementKind | null {
  if (after === before) return null;
  if (before === 0) return hadRevenue ? "reactivation" : "new";
  if (after === 0) return "churn";
  return after > before ? "expansion" : "contraction";
}

/** The difference of two amounts with at most 2 decimals, exact. */
export function difference(after: number, before: number): number {
  return (Math.round(after * 100) - Math.round(before * 100)) / 100;
}

/** The movements of one month, in the major unit. `starting` + the five kinds = `ending`. */
export type MonthOfRevenue = Readonly<Record<MovementKind | "starting" | "ending", number>> & { readonly month: string };

/** There is one for each month and kind. */
export interface MovementSum {
  readonly month: string;
  readonly kind: MovementKind;
  /** Exact decimal, such as `-99.50`. */
  readonly sum: string;
}

/** The sums by (month, kind). */
export function movementSums(rows: readonly AggregateRow[]): MovementSum[] {
  return rows.map(({ group: [month, kind], sum }) => ({ month: String(month), kind: kind as MovementKind, sum }));
}

/** Every month from `from` to `to`, both inclusive. Sums of earlier months are in the first month's `starting`. */
export function monthsOfRevenue(sums: readonly MovementSum[], from: string, to: string): MonthOfRevenue[] {
  return monthsAfter(sumOf(sums.filter(({ month }) => month < from)), sums, from, to);
}

/** The same from the revenue at the end of `to`, without the sums of months before `from`. */
export function monthsUpTo(ending: number, sums: readonly MovementSum[], from: string, to: string): MonthOfRevenue[] {
  return monthsAfter(cents(ending) - sumOf(sums.filter(({ month }) => from <= month && month <= to)), sums, from, to);
}

function monthsAfter(start: bigint, sums: readonly MovementSum[], from: string, to: string): MonthOfRevenue[] {
  const known = new Map(sums.map(({ month, kind, sum }) => [`${month} ${kind}`, cents(sum)]));
  let ending = start;
  return monthsBetween(from, to).map((month) => {
    const starting = ending;
    const amounts = MOVEMENT_KINDS.map((kind) => [kind, known.get(`${month} ${kind}`) ?? 0n] as const);
    ending = amounts.reduce((total, [, amount]) => total + amount, starting);
    const members = [["starting", starting], ...amounts, ["ending", ending]] as const;
    return { month, ...Object.fromEntries(members.map(([name, amount]) => [name, Number(amount) / 100])) } as MonthOfRevenue;
  });
}

function sumOf(sums: readonly MovementSum[]): bigint {
  return sums.reduce((total, { sum }) => total + cents(sum), 0n);
}

/** Every month from the first to the last, `YYYY-MM`. */
export function monthsBetween(from: string, to: string): string[] {
  const first = indexOf(from);
  return Array.from({ length: indexOf(to) - first + 1 }, (_, i) => monthAt(first + i));
}

/** The month with an index. Before year 0: the first month. */
export function monthAt(index: number): string {
  const at = Math.max(0, index);
  return `${String(Math.floor(at / 12)).padStart(4, "0")}-${String(at % 12 + 1).padStart(2, "0")}`;
}

/** Months since year 0. */
export function indexOf(month: string): number {
  return Number(month.slice(0, 4)) * 12 + Number(month.slice(5)) - 1;
}

function cents(sum: string | number): bigint {
  return BigInt(Math.round(Number(sum) * 100));
}
