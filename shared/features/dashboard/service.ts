import { Collection } from "../../core/collection.ts";
import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { alert } from "../alerts/entity.ts";
import { movement, type MovementKind } from "../revenue/entity.ts";
import { indexOf, monthAt, type MonthOfRevenue, monthsUpTo, type MovementSum } from "../revenue/rules.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { signUpKeys, signUps } from "../tenants/sign-ups.ts";
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
/** Counts without a rollup end here, so that their cost does not grow with the number of tenants. */
export const COUNTED_UP_TO = 100;

/** The numbers of an administrator's first page, from rollups and indexes, in one wait. */
export class DashboardService {
  constructor(private readonly work: UnitOfWork) {}

  /** `days`: how many days of sign-ups, 1 to 90. The parts are read at the same time, not in one snapshot. */
  async get({ days = DEFAULT_DAYS }: { readonly days?: number | undefined } = {}): Promise<Dashboard> {
    const { work } = this;
    const [groups, movements, counted, nearLimits, openAlerts, pastDueSubscriptions] = await Promise.all([
      work.store.aggregate({ entity: tenant, groupBy: ["status", "plan"], sum: "mrr" }),
      this.#movements(),
      this.#signUps(days),
      this.#nearLimits(),
      work.store.count({ entity: alert, where: [{ field: "openUntil", from: work.now() }], upTo: COUNTED_UP_TO }),
      work.store.count({ entity: subscription, where: [{ field: "status", in: ["past_due"] }], upTo: COUNTED_UP_TO }),
    ]);
    const tenants = tenantNumbers(groups);
    return {
      asOf: work.now(),
      currency: work.platform.currency,
      tenants,
      revenue: { movements: monthsUpTo(tenants.mrr, movements.sums, movements.from, movements.to) },
      signUps: { tenants: counted.reduce((sum, each) => sum + each.tenants, 0), days: counted },
      nearLimits,
      openAlerts,
      pastDueSubscriptions,
    };
  }

  /** Of the last months only. The present revenue is known, so the earlier ones need not be summed. */
  async #movements(): Promise<{ readonly sums: MovementSum[]; readonly from: string; readonly to: string }> {
    const to = periodOf(this.work.context.clock.now());
    const from = monthAt(indexOf(to) - MONTHS + 1);
    const where = [{ field: "month", from }];
    const rows = await this.work.store.aggregate({ entity: movement, groupBy: ["month", "kind"], sum: "amount", where });
    return { sums: rows.map(({ group: [month, kind], sum }) => ({ month: String(month), kind: kind as MovementKind, sum })), from, to };
  }

  async #signUps(count: number): Promise<DayCount[]> {
    const days = lastDays(count, this.work.context.clock.now());
    const months = [...new Set(days.map((day) => day.slice(0, 7)))];
    const found = await this.work.store.mget(months.flatMap(signUpKeys));
    const records = new Collection(signUps, this.work.store);
    return countsByDay(days, found.flatMap((entry) => entry ? [records.read(entry)] : []));
  }

  async #nearLimits(): Promise<Dashboard["nearLimits"]> {
    const where = [{ field: "usagePercent", from: NEAR_PERCENT }];
    const orderBy = [{ field: "usagePercent", direction: "desc" }] as const;
    const { store } = this.work;
    const [page, near] = await Promise.all([
      // Without the condition, a page function reads it.
      store.query({ entity: tenant, orderBy, limit: HIGHEST }),
      store.count({ entity: tenant, where, upTo: COUNTED_UP_TO }),
    ]);
    const tenants = new Collection(tenant, store);
    const highest = page.entries.flatMap((entry) => {
      const { id, name, plan, usagePercent = 0 } = tenants.read(entry);
      return usagePercent < NEAR_PERCENT ? [] : { id, name, plan, usagePercent };
    });
    return { fromPercent: NEAR_PERCENT, tenants: near, highest };
  }
}
