import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { movement } from "./entity.ts";
import { indexOf, monthAt, type MonthOfRevenue, monthsOfRevenue, movementSums } from "./rules.ts";

export interface Movements {
  readonly currency: string;
  readonly data: MonthOfRevenue[];
}

const MAX_MONTHS = 120;
const DEFAULT_MONTHS = 12;

/** The monthly recurring revenue of the platform over time. */
export class RevenueService {
  constructor(private readonly work: UnitOfWork) {}

  /**
   * The movements of each month from `from` to `to`, `YYYY-MM`, from rollups in one read. Default: the 12 months up to the present.
   * Throws `invalid_parameter` for more than 120 months, and if `to` is before `from`.
   */
  async movements(range: { readonly from?: string | undefined; readonly to?: string | undefined } = {}): Promise<Movements> {
    const { to = periodOf(this.work.context.clock.now()), from = monthAt(indexOf(to) - DEFAULT_MONTHS + 1) } = range;
    const months = indexOf(to) - indexOf(from) + 1;
    if (months < 1) throw errors.parameter("to", "must not be before from");
    if (months > MAX_MONTHS) throw errors.parameter("from", `must be at most ${MAX_MONTHS} months before to`);
    const rows = await this.work.store.aggregate({ entity: movement, groupBy: ["month", "kind"], sum: "amount" });
    return { currency: this.work.platform.currency, data: monthsOfRevenue(movementSums(rows), from, to) };
  }
}
