import { Collection, type Stored } from "../../core/collection.ts";
import { dayOf, periodEnd, periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf, matchKey } from "../../kv/define.ts";
import type { Addition, Check, Entry } from "../../kv/store.ts";
import { catalogueOf, forgetCatalogue, type StoredMetric } from "../metrics/catalogue.ts";
import { metric as metricEntity } from "../metrics/entity.ts";
import { entitlements as entitlementsEntity } from "../entitlements/entity.ts";
import { entitlementsKey, entitlementsOf } from "../entitlements/reads.ts";
import { limitsOf, resolved } from "../entitlements/rules.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { type UsageRecord, usageRecord } from "./entity.ts";
import { firstUsage } from "./limits.ts";
import { limitOf, settledLevel, type Usage, viewOf } from "./rules.ts";

export type { Usage };
export type StoredUsage = Stored<typeof usageRecord>;

/** One metric of one tenant in one month. */
export interface Place {
  readonly tenantId: string;
  readonly metric: StoredMetric;
  readonly period: string;
  readonly key: string;
}

export function placeOf(tenantId: string, metric: StoredMetric, period: string): Place {
  return { tenantId, metric, period, key: keyOf(usageRecord, { tenantId, metric: metric.id, period }) };
}

/**
 * The day to which a count is added: today in the current period, else the first day of the period. A level that is set after the period
 * is that of its last day.
 */
export function bookingDay({ metric, period }: Pick<Place, "metric" | "period">, nowMs: number): string {
  const current = periodOf(nowMs);
  if (current === period) return dayOf(nowMs);
  return metric.kind === "gauge" && period < current ? dayOf(Date.parse(periodEnd(period)) - 1) : `${period}-01`;
}

/** The hour to which a count is added. Null if the metric has no hours. */
export function bookingHour({ metric, period }: Place, nowMs: number): string | null {
  if (metric.resolution !== "hour") return null;
  return periodOf(nowMs) === period ? isoTime(nowMs).slice(0, 13) : `${period}-01T00`;
}

/** The additions that count an amount: to the total, to its day, and to its hour if the metric has hours. */
export function additionsOf(
  place: Place,
  by: number,
  nowMs: number,
  bounds: Pick<Addition, "min" | "maxOf"> = {},
): Addition[] {
  const hour = bookingHour(place, nowMs);
  return [
    { path: ["current"], by, ...bounds },
    { path: ["daily", bookingDay(place, nowMs)], by },
    ...(hour === null ? [] : [{ path: ["hourly", hour], by }]),
  ];
}

/** The first usage record of a metric in a period, and the versions that it depends on. */
export interface Opening {
  readonly record: UsageRecord;
  readonly checks: readonly Check[];
  /** The check of the earlier record that a gauge continues. */
  readonly carried: Check | null;
}

/** Null if the tenant does not exist. Throws `not_found` if the metric was deleted, `write_conflict` if its kind changed. */
export async function openingOf(work: UnitOfWork, place: Place): Promise<Opening | null> {
  const { tenantId, metric, period } = place;
  const keys = [keyOf(tenantEntity, { id: tenantId }), keyOf(metricEntity, metric), entitlementsKey(tenantId)];
  const [[tenantEntry, present, entitled = null], earlier] = await Promise.all([
    work.store.mget(keys),
    metric.kind === "gauge" ? latestBefore(work, place) : null,
  ]);
  if (!tenantEntry) return null;
  if (present?.version !== metric.version) forgetCatalogue(work);
  if (!present) throw errors.notFound("metric", metric.id);
  // The metric was deleted and created again since this process read the catalogue. No other change of it matters here.
  if (new Collection(metricEntity, work.store).read(present).kind !== metric.kind) throw errors.writeConflict(present.key);
  const limits = await tenantLimits(work, tenantId, entitled);
  const record = firstUsage(tenantId, metric.id, period, limitOf(limits, metric.id), work.now(), earlier ? settledLevel(earlier) : 0);
  return {
    record,
    // A change of the limits while the record does not exist yet would miss it.
    checks: [
      ...[tenantEntry, present].map(({ key, version }) => ({ key, version })),
      { key: entitlementsKey(tenantId), version: entitled?.version ?? null },
    ],
    carried: earlier && { key: earlier.id, version: earlier.version },
  };
}

/** The last record of the metric before the period. Null if there is none. */
export async function latestBefore(work: UnitOfWork, { tenantId, metric, key }: Place): Promise<StoredUsage | null> {
  const page = await work.store.list({ prefix: `usage:${tenantId}:${metric.id}`, end: key, reverse: true, limit: 1 });
  const [entry] = page.entries;
  return entry ? new Collection(usageRecord, work.store).read(entry) : null;
}

/** The limits of the tenant at the present instant, from its entitlements. */
async function tenantLimits(work: UnitOfWork, tenantId: string, entry: Entry | null) {
  const stored = entry && new Collection(entitlementsEntity, work.store).read(entry);
  const record = stored ?? await entitlementsOf(work, tenantId);
  return record ? limitsOf(resolved(record, work.now())) : {};
}

/**
 * Every metric of one period, with the tenant and its limits from the same read. If gauges have no record, also reads the keys of the
 * tenant's usage and the last earlier records. Throws `not_found` if the tenant does not exist.
 */
export async function usageOf(work: UnitOfWork, tenantId: string, period: string) {
  const records = new Collection(usageRecord, work.store);
  const places = [...(await catalogueOf(work)).values()].map((metric) => placeOf(tenantId, metric, period));
  const its = [keyOf(tenantEntity, { id: tenantId }), entitlementsKey(tenantId)];
  const [tenantEntry, entitled = null, ...found] = await work.store.mget([...its, ...places.map(({ key }) => key)]);
  if (!tenantEntry) throw errors.notFound("tenant", tenantId);
  const tenant = new Collection(tenantEntity, work.store).read(tenantEntry);
  const missing = places.filter((_, i) => !found[i]);
  const [limits, carried] = missing.length === 0
    ? [{}, new Map<string, StoredUsage>()]
    : await Promise.all([tenantLimits(work, tenantId, entitled), carriedInto(work, tenantId, missing)]);
  const usage = places.map((place, i): Usage => {
    const entry = found[i];
    if (entry) return viewOf(records.read(entry), place.metric, entry.version);
    const { id } = place.metric;
    const earlier = carried.get(id);
    return viewOf(
      firstUsage(tenantId, id, period, limitOf(limits, id), work.now(), earlier ? settledLevel(earlier) : 0),
      place.metric,
      null,
    );
  });
  return { tenant, usage };
}

/** The last earlier record of each gauge, by metric. */
export async function carriedInto(work: UnitOfWork, tenantId: string, places: readonly Place[]): Promise<Map<string, StoredUsage>> {
  const gauges = new Map(places.filter(({ metric }) => metric.kind === "gauge").map((place) => [place.metric.id, place]));
  const latest = new Map<string, string>();
  if (gauges.size === 0) return new Map();
  // The keys of a metric are in the order of their periods, so the last match is the latest.
  for await (const { key } of work.store.entries({ prefix: `usage:${tenantId}`, keysOnly: true })) {
    const id = matchKey(usageRecord, key)?.["metric"] ?? "";
    if (key < (gauges.get(id)?.key ?? "")) latest.set(id, key);
  }
  const records = await new Collection(usageRecord, work.store).getMany([...latest.values()]);
  return new Map(records.flatMap((record) => record ? [[record.metric, record] as const] : []));
}
