import { Collection } from "../../core/collection.ts";
import { periodFault, periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { shortTenantId, tenant as tenantEntity } from "../tenants/entity.ts";
import { placeOf } from "../usage/reads.ts";
import { usageGroups } from "./entity.ts";
import { groupsKey } from "./tally.ts";

/** The usage of a month by the values of one dimension, the largest first. */
export interface GroupedUsage {
  readonly metric: string;
  readonly period: string;
  readonly dimension: string;
  readonly data: { readonly value: string; readonly amount: number }[];
}

/**
 * The groups of one dimension. Without events with the dimension, the list is empty. Throws `invalid_parameter` for an invalid period
 * or a dimension that the metric does not have. Null if the tenant does not exist.
 */
export async function groupsOf(
  work: UnitOfWork,
  tenantId: string,
  metricId: string,
  dimension: string,
  period = periodOf(work.context.clock.now()),
): Promise<GroupedUsage | null> {
  const metric = await metricOf(work, metricId);
  const fault = periodFault(period, work.context.clock.now());
  if (fault !== null) throw errors.parameter("period", fault);
  const { dimensions = [] } = metric;
  if (!dimensions.includes(dimension)) {
    const known = dimensions.length > 0 ? `one of ${dimensions.join(", ")}` : "left out: the metric has no dimensions";
    throw errors.parameter("dimension", `must be ${known}`);
  }
  const id = shortTenantId(tenantId);
  const place = placeOf(id, metric, period);
  const [tenant, entry] = await work.store.mget([keyOf(tenantEntity, { id }), groupsKey(place)]);
  if (!tenant) return null;
  const groups = entry ? new Collection(usageGroups, work.store).read(entry).groups[dimension] ?? {} : {};
  const data = Object.entries(groups).map(([value, amount]) => ({ value, amount }))
    .sort((a, b) => b.amount - a.amount || (a.value < b.value ? -1 : 1));
  return { metric: metric.id, period, dimension, data };
}
