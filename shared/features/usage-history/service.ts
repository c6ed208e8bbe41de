import { Collection, type Stored } from "../../core/collection.ts";
import { addDays, addInterval, periodFault, periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Entry } from "../../kv/store.ts";
import { catalogueOf, metricOf, type StoredMetric } from "../metrics/catalogue.ts";
import { soldTerms } from "../plans/versions.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { shortTenantId, tenant as tenantEntity } from "../tenants/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { carriedInto, latestBefore, openingOf, placeOf } from "../usage/reads.ts";
import { settledLevel } from "../usage/rules.ts";
import { billingGrid, type BucketSize, bucketsOf, type Grid, gridOf, MAX_BUCKETS, periodsOf, shownSpan, type Span } from "./buckets.ts";
import type { HistoryQuery, MonthsQuery } from "./entity.ts";
import { type Forecast, forecastOf } from "./forecast.ts";
import { dayWithoutHours, levelsOf, sumsOf } from "./series.ts";
import { isTimeZone, offsetMinutes, startOfDay } from "./zones.ts";

type OfMetric = Pick<StoredMetric, "unit" | "kind"> & { readonly metric: string };
export type UsageHistory = OfMetric & {
  readonly bucket: BucketSize;
  readonly timeZone: string;
  readonly data: { readonly start: string; readonly end: string; readonly amount: number }[];
};
export type UsageMonths = OfMetric & { readonly months: { readonly period: string; readonly amount: number }[] };
export type UsageForecast = OfMetric & Forecast & { readonly current: number; readonly limit: number | null };

const DAY_MS = 86_400_000;
const MAX_MONTHS = 24;
const DEFAULT_MONTHS = 12;

/** Usage over time, from the usage records. Writes nothing. */
export class UsageHistoryService {
  constructor(private readonly work: UnitOfWork) {}

  /**
   * One metric in buckets: the sums of a counter, zero where nothing was counted, or the levels of a gauge. Throws `invalid_parameter`,
   * also for hours that the metric does not have. Null if the tenant does not exist.
   */
  async history(tenantId: string, metricId: string, query: HistoryQuery = {}): Promise<UsageHistory | null> {
    const metric = await metricOf(this.work, metricId);
    const { bucket = "day", timeZone = "UTC" } = query;
    if (!isTimeZone(timeZone)) throw errors.parameter("timeZone", "must be a name of the IANA time zone database, such as Europe/Madrid");
    if (bucket === "billing_period" && timeZone !== "UTC") throw errors.parameter("timeZone", "must be UTC for billing periods");
    const byHour = bucket === "hour" || !isAlwaysUtc(timeZone);
    if (byHour && metric.resolution !== "hour") throw errors.parameter(bucket === "hour" ? "bucket" : "timeZone", withoutHours(metric));
    const id = shortTenantId(tenantId);
    const [tenant, subscribed = null] = await this.work.store.mget([
      keyOf(tenantEntity, { id }),
      ...(bucket === "billing_period" ? [keyOf(subscriptionEntity, { tenantId: id })] : []),
    ]);
    if (!tenant) return null;
    const grid = bucket === "billing_period" ? await this.#billing(id, subscribed) : gridOf(bucket, timeZone);
    const buckets = bucketsOf(this.#span(query, bucket, timeZone), grid);
    if (!buckets) throw errors.parameter("from", `must be at most ${MAX_BUCKETS} buckets before to`);
    assertWholeHours(buckets, timeZone);
    const amounts = await this.#amounts(id, metric, buckets, byHour);
    const data = buckets.map((span, i) => ({ ...shownSpan(span), amount: amounts[i] ?? 0 }));
    return { ...shownMetric(metric), bucket, timeZone, data };
  }

  /** Every metric by month, at most 24 months. Throws `invalid_parameter`, and `not_found` if the tenant does not exist. */
  async months(tenantId: string, { from, to }: MonthsQuery = {}): Promise<UsageMonths[] | null> {
    const id = shortTenantId(tenantId);
    const periods = this.#periods(from, to);
    const metrics = [...(await catalogueOf(this.work)).values()];
    const places = metrics.flatMap((metric) => periods.map((period) => placeOf(id, metric, period)));
    const [tenant, ...entries] = await this.work.store.mget([keyOf(tenantEntity, { id }), ...places.map(({ key }) => key)]);
    if (!tenant) return null;
    const records = new Collection(usageRecord, this.work.store);
    const found = new Map(entries.flatMap((entry) => entry ? [[entry.key, records.read(entry)] as const] : []));
    const first = places.filter(({ period, key }) => period === periods[0] && !found.has(key));
    const carried = await carriedInto(this.work, id, first);
    return metrics.map((metric) => {
      let level = settledOf(carried.get(metric.id));
      const months = periods.map((period) => {
        const record = found.get(placeOf(id, metric, period).key);
        level = record ? settledOf(record) : metric.kind === "gauge" ? level : 0;
        return { period, amount: level };
      });
      return { ...shownMetric(metric), months };
    });
  }

  /** Projects the current month. Null if the tenant does not exist. */
  async forecast(tenantId: string, metricId: string): Promise<UsageForecast | null> {
    const metric = await metricOf(this.work, metricId);
    const nowMs = this.work.context.clock.now();
    const period = periodOf(nowMs);
    const before = addInterval(`${period}-01T00:00:00.000Z`, { interval: "monthly", intervalCount: -1 }).slice(0, 7);
    const place = placeOf(shortTenantId(tenantId), metric, period);
    const [current, previous] = await new Collection(usageRecord, this.work.store)
      .getMany([place.key, placeOf(place.tenantId, metric, before).key]);
    const record = current ?? (await openingOf(this.work, place))?.record;
    if (!record) return null;
    const { current: used, limit } = record;
    return { ...shownMetric(metric), current: used, limit, ...forecastOf(metric.kind, record, previous ?? null, nowMs) };
  }

  async #billing(tenantId: string, entry: Entry | null): Promise<Grid> {
    if (!entry) throw errors.parameter("bucket", `must not be billing_period: the tenant ${tenantId} has no subscription`);
    const sold = new Collection(subscriptionEntity, this.work.store).read(entry);
    const { interval, intervalCount } = await soldTerms(this.work, sold);
    return billingGrid({ ...sold, interval, intervalCount });
  }

  async #amounts(tenantId: string, metric: StoredMetric, buckets: readonly Span[], byHour: boolean): Promise<number[]> {
    const [first = "", ...others] = periodsOf(buckets);
    const places = [first, ...others].map((period) => placeOf(tenantId, metric, period));
    const [found, earlier] = await Promise.all([
      new Collection(usageRecord, this.work.store).getMany(places.map(({ key }) => key)),
      metric.kind === "gauge" ? latestBefore(this.work, placeOf(tenantId, metric, first)) : null,
    ]);
    const records = found.filter((record): record is Stored<typeof usageRecord> => record !== null);
    if (metric.kind === "gauge") return levelsOf(records, buckets, settledOf(earlier));
    const missing = byHour ? dayWithoutHours(records, { start: buckets[0]?.start ?? 0, end: buckets.at(-1)?.end ?? 0 }) : null;
    if (missing !== null) throw errors.parameter("from", `must be after ${missing}, of which no hours were recorded`);
    return sumsOf(records, buckets, byHour ? "hour" : "day");
  }

  /** The instants between which the buckets are. A day is one of the time zone. */
  #span({ from, to }: HistoryQuery, bucket: BucketSize, zone: string): Span {
    const nowMs = this.work.context.clock.now();
    const instantOf = (text: string, days: number) =>
      text.length > 10 ? Date.parse(text) : startOfDay(zone, days === 0 ? text : addDays(`${text}T00:00:00.000Z`, days).slice(0, 10));
    const end = to === undefined ? nowMs + 1 : instantOf(to, 1);
    const start = from === undefined ? defaultStart(end, bucket) : instantOf(from, 0);
    for (const [name, at] of [["from", start], ["to", end - 1]] as const) {
      const fault = at < Date.parse("2000-01-01T00:00:00.000Z") ? "" : periodFault(periodOf(at), nowMs);
      if (fault !== null) throw errors.parameter(name, fault === "" ? "must be in 2000 or later" : "must be at most 12 months ahead");
    }
    if (start >= end) throw errors.parameter("to", "must be after from");
    return { start, end };
  }

  #periods(from: string | undefined, to = periodOf(this.work.context.clock.now())): string[] {
    const back = (months: number) => addInterval(`${to}-01T00:00:00.000Z`, { interval: "monthly", intervalCount: -months }).slice(0, 7);
    const first = from ?? back(DEFAULT_MONTHS - 1);
    for (const [name, period] of [["from", first], ["to", to]] as const) {
      const fault = periodFault(period, this.work.context.clock.now());
      if (fault !== null) throw errors.parameter(name, fault);
    }
    if (first > to) throw errors.parameter("to", "must not be before from");
    if (first < back(MAX_MONTHS - 1)) throw errors.parameter("from", `must be at most ${MAX_MONTHS - 1} months before to`);
    return periodsOf([{ start: Date.parse(`${first}-01T00:00:00.000Z`), end: Date.parse(`${to}-02T00:00:00.000Z`) }]);
  }
}

/** What is used, without what is only reserved: days and hours do not contain that either. */
function settledOf(record: Stored<typeof usageRecord> | null | undefined): number {
  return record ? settledLevel(record) : 0;
}

function shownMetric({ id, unit, kind }: StoredMetric): OfMetric {
  return { metric: id, unit, kind };
}

function withoutHours({ id }: StoredMetric): string {
  return `needs the hours of ${id}, which are not recorded; set the metric's resolution to hour, or choose days of UTC`;
}

function isAlwaysUtc(zone: string): boolean {
  return zone === "UTC" || zone === "Etc/UTC";
}

/** Hours are recorded in UTC, so a day of the zone must begin with one. */
function assertWholeHours(buckets: readonly Span[], zone: string): void {
  if (isAlwaysUtc(zone) || buckets.every(({ start }) => offsetMinutes(zone, start) % 60 === 0 && start % 3_600_000 === 0)) return;
  throw errors.parameter("timeZone", "must be a whole number of hours from UTC, because usage is recorded by hours of UTC");
}

function defaultStart(end: number, bucket: BucketSize): number {
  if (bucket === "hour") return end - DAY_MS;
  if (bucket === "day") return end - 30 * DAY_MS;
  return Date.parse(addInterval(isoTime(end), { interval: "monthly", intervalCount: -DEFAULT_MONTHS }));
}
