import { Collection } from "../../core/collection.ts";
import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { AggregateRow, Entry } from "../../kv/store.ts";
import { alert } from "../alerts/entity.ts";
import { movement } from "../revenue/entity.ts";
import { indexOf, monthAt, type MonthOfRevenue, monthsUpTo, movementSums } from "../revenue/rules.ts";
import { subscription } from "../subscriptions/entity.ts";
import { signUp, tenant } from "../tenants/entity.ts";
import { countsByDay, type DayCount, lastDays, type TenantNumbers, tenantNumbers } from "./rules.ts";

export interface NearLimit {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
  readonly usagePercent: number;
}

export interface Dashboard {
  /** The present instant of the program's clock. */
  readonly asOf: string;
  readonly currency: string;
  readonly tenants: TenantNumbers;
  readonly revenue: { readonly movements: MonthOfRevenue[] };
  readonly signUps: { readonly tenants: number; readonly days: DayCount[] };
  readonly nearLimits: { readonly fromPercent: number; readonly tenants: number; readonly highest: NearLimit[] };
  readonly openAlerts: number;
  readonly pastDueSubscriptions: number;
}

const MONTHS = 12;
export const DEFAULT_DAYS = 30;
export const MAX_DAYS = 90;
const NEAR_PERCENT = 80;
const HIGHEST = 10;
/** The count of tenants near a limit ends here, so that its cost does not grow with the number of tenants. */
export const COUNTED_UP_TO = 100;

/** The numbers of an administrator's first page, from rollups and indexes, in one statement. */
export class DashboardService {
  constructor(private readonly work: UnitOfWork) {}

  /** `days`: how many days of sign-ups, 1 to 90. All numbers are of one snapshot. */
  async get({ days: count = DEFAULT_DAYS }: { readonly days?: number | undefined } = {}): Promise<Dashboard> {
    const { work } = this;
    const nowMs = work.context.clock.now();
    const days = lastDays(count, nowMs);
    const to = periodOf(nowMs);
    const from = monthAt(indexOf(to) - MONTHS + 1);
    const [groups, movements, signUps, alerts, subscriptions, highest, near] = await work.store.readAll([
      { aggregate: { entity: tenant, groupBy: ["status", "plan"], sum: "mrr" } },
      // The present revenue is known, so the movements of earlier months need not be summed.
      { aggregate: { entity: movement, groupBy: ["month", "kind"], sum: "amount", where: [{ field: "month", from }] } },
      { aggregate: { entity: signUp, groupBy: ["day"], where: [{ field: "day", from: days[0] ?? "" }] } },
      { aggregate: { entity: alert, groupBy: ["openUntil"], where: [{ field: "openUntil", from: work.now() }] } },
      { aggregate: { entity: subscription, groupBy: ["status"] } },
      // Without the condition, a page function reads it.
      { query: { entity: tenant, orderBy: [{ field: "usagePercent", direction: "desc" }], limit: HIGHEST } },
      { count: { entity: tenant, where: [{ field: "usagePercent", from: NEAR_PERCENT }], upTo: COUNTED_UP_TO } },
    ]);
    const tenants = tenantNumbers(groups);
    const byDay = countsByDay(days, signUps);
    return {
      asOf: work.now(),
      currency: work.platform.currency,
      tenants,
      revenue: { movements: monthsUpTo(tenants.mrr, movementSums(movements), from, to) },
      signUps: { tenants: byDay.reduce((sum, each) => sum + each.tenants, 0), days: byDay },
      nearLimits: { fromPercent: NEAR_PERCENT, tenants: near, highest: this.#nearLimits(highest.entries) },
      openAlerts: total(alerts),
      pastDueSubscriptions: total(subscriptions.filter(({ group: [status] }) => status === "past_due")),
    };
  }

  #nearLimits(entries: readonly Entry[]): NearLimit[] {
    const tenants = new Collection(tenant, this.work.store);
    return entries.flatMap((entry) => {
      const { id, name, plan, usagePercent = 0 } = tenants.read(entry);
      return usagePercent < NEAR_PERCENT ? [] : { id, name, plan, usagePercent };
    });
  }
}

function total(rows: readonly AggregateRow[]): number {
  return rows.reduce((sum, { count }) => sum + count, 0);
}
