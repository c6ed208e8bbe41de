import { Collection } from "../../core/collection.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { periodFault, periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { catalogueOf, metricOf } from "../metrics/catalogue.ts";
import { indexOf, monthAt, monthsBetween } from "../revenue/rules.ts";
import { usageLevel, usageRecord } from "./entity.ts";
import { firstUsage } from "./limits.ts";
import { type Usage, viewOf } from "./rules.ts";

/** The usage of all tenants in one month. */
export interface UsageTotal {
  readonly metric: string;
  readonly period: string;
  /** The sum over all tenants. */
  readonly current: number;
  /** The number of tenants that have used the metric in the month. */
  readonly tenants: number;
}

export interface TotalsRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly metric?: string | undefined;
}

const MAX_MONTHS = 120;
const DEFAULT_MONTHS = 12;

/** Usage across tenants. Only for the platform: a tenant-bound store has the tenant's own levels alone. */
export class UsageLevelService {
  constructor(private readonly work: UnitOfWork) {}

  /**
   * The usage of many tenants, by default of the current month and the highest percentage first. The order and the filters are those of
   * the levels, which are at most a minute old; the records are the present ones. Throws `invalid_parameter`.
   */
  async list({ period, ...filters }: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<Usage>> {
    const { work } = this;
    const levels = new Collection(usageLevel, work.store);
    const selection = selectionOf(usageLevel, { ...filters, period: period ?? [periodOf(work.context.clock.now())] });
    const [catalogue, page] = await Promise.all([catalogueOf(work), listPage(levels, { ...selection, sort, pagination })]);
    const found = await work.store.mget(page.data.map((level) => keyOf(usageRecord, level)));
    const records = new Collection(usageRecord, work.store);
    const data = page.data.flatMap(({ tenantId, metric: id, period, current, limit, updatedAt }, i): Usage[] => {
      const metric = catalogue.get(id);
      const entry = found[i];
      if (!metric) return [];
      // A gauge that carries over has no record until the first write of the month.
      return [
        entry
          ? viewOf(records.read(entry), metric, entry.version)
          : viewOf(firstUsage(tenantId, id, period, limit, updatedAt, current), metric, null),
      ];
    });
    return { ...page, data };
  }

  /**
   * The sums of each metric and month from `from` to `to`, `YYYY-MM`, from a rollup in one read, with zeros. Default: every metric, the
   * 12 months up to the present. Throws `invalid_parameter`, and `not_found` for an unknown metric.
   */
  async totals({ metric, ...range }: TotalsRange = {}): Promise<UsageTotal[]> {
    const { work } = this;
    const nowMs = work.context.clock.now();
    const { to = periodOf(nowMs), from = monthAt(indexOf(to) - DEFAULT_MONTHS + 1) } = range;
    for (const [name, month] of [["from", from], ["to", to]] as const) {
      const fault = periodFault(month, nowMs);
      if (fault !== null) throw errors.parameter(name, fault);
    }
    const months = indexOf(to) - indexOf(from) + 1;
    if (months < 1) throw errors.parameter("to", "must not be before from");
    if (months > MAX_MONTHS) throw errors.parameter("from", `must be at most ${MAX_MONTHS} months before to`);
    const metrics = metric === undefined ? [...(await catalogueOf(work)).keys()] : [(await metricOf(work, metric)).id];
    const rows = await work.store.aggregate({
      entity: usageLevel,
      groupBy: ["metric", "period"],
      sum: "current",
      where: metric === undefined ? [] : [{ field: "metric", in: [metric] }],
    });
    const sums = new Map(rows.map(({ group, sum, count }) => [group.join(":"), { current: Number(sum), tenants: count }]));
    return metrics.flatMap((id) =>
      monthsBetween(from, to).map((period) => ({ metric: id, period, ...(sums.get(`${id}:${period}`) ?? { current: 0, tenants: 0 }) }))
    );
  }
}
