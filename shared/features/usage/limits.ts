import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { periodOf } from "../../core/periods.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf, matchKey } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { catalogueOf } from "../metrics/catalogue.ts";
import type { Plan } from "../plans/entity.ts";
import { usageRecord } from "./entity.ts";
import { markMutation } from "./marks.ts";
import { limitOf, meteredOf } from "./rules.ts";

/**
 * Sets the limits of the usage records of this period and of later ones to the tenant's, without a conflict with concurrent counts.
 * Creates no records. `only` names the metrics. Default: all.
 */
export async function limitMutations(
  work: UnitOfWork,
  tenantId: string,
  limits: Plan["limits"],
  only?: readonly string[],
): Promise<Mutation[]> {
  const period = periodOf(work.context.clock.now());
  const [catalogue, later] = await Promise.all([catalogueOf(work), laterUsage(work, tenantId, period)]);
  // The plan may limit a metric that the cached catalogue does not have yet.
  const metrics = new Set(meteredOf(only ?? [...catalogue.keys(), ...Object.keys(limits)]));
  const places = [...[...metrics].map((metric) => ({ tenantId, metric, period })), ...later.filter(({ metric }) => metrics.has(metric))];
  const written = places.map((place): Mutation => ({
    op: "increment",
    key: keyOf(usageRecord, place),
    add: [],
    merge: { limit: limitOf(limits, place.metric), updatedAt: work.now() },
  }));
  // Another limit is another percentage: the job finds a threshold that is reached without a count.
  const periods = new Set(places.map((place) => place.period));
  return [...written, ...[...periods].map((each) => markMutation(work, tenantId, each))];
}

/** A commit has at most 1,000 mutations, of which the current period takes one for each of at most 100 metrics. */
const MAX_LATER = 800;

/** The usage that is recorded for later periods, the nearest first. A program may record it up to a year ahead. */
async function laterUsage(work: UnitOfWork, tenantId: string, after: string) {
  const found: { readonly tenantId: string; readonly metric: string; readonly period: string }[] = [];
  for await (const { key } of work.store.entries({ prefix: `usage:${tenantId}`, keysOnly: true })) {
    const { metric = "", period = "" } = matchKey(usageRecord, key) ?? {};
    if (period > after) found.push({ tenantId, metric, period });
  }
  return found.toSorted((a, b) => a.period < b.period ? -1 : 1).slice(0, MAX_LATER);
}

/** The first record of a metric in a period. A counter starts at zero, a gauge at its last value, `current`. */
export function firstUsage(tenantId: string, metric: string, period: string, limit: number | null, now: string, current = 0) {
  return {
    id: keyOf(usageRecord, { tenantId, metric, period }),
    tenantId,
    metric,
    period,
    current,
    reserved: 0,
    limit,
    daily: {},
    createdAt: now,
  } satisfies JsonObject;
}
