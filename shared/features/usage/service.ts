import { parseInput } from "../../core/collection.ts";
import { assertPeriod, isClosed, periodFault, periodOf } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { Idempotency } from "../../kernel/context.ts";
import { errors, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions, IfMatch } from "../../kernel/version.ts";
import type { Addition } from "../../kv/store.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { usageConsume, type UsageCount, usageCount, usageIncrement, usagePut, type UsageRecord, usageRecord } from "./entity.ts";
import type { Count, Counted } from "./count.ts";
import { Meter } from "./meter.ts";
import { assertMeters, boundOf, judged, type Judgement } from "./policies.ts";
import { additionsOf, bookingDay, openingOf, type Place, placeOf, usageOf } from "./reads.ts";
import * as rules from "./rules.ts";
import type { Level, Usage } from "./rules.ts";

export type { Usage };
export { UsageLevelService } from "./levels.ts";

export type UsageConsumption = Judgement;

export interface UsageCheck extends Judgement {
  readonly percentage: number;
}

/** Usage of metrics. An unknown metric is `not_found`; an invalid period is `invalid_parameter` in reads, else `validation_failed`. */
export class UsageService {
  readonly #usage: Records<typeof usageRecord>;
  readonly #meter: Meter;

  constructor(private readonly work: UnitOfWork) {
    this.#usage = new Records(usageRecord, work);
    this.#meter = new Meter(work);
  }

  /** Without a record in the period, a counter is zero and a gauge has its last value. Null if there is no such tenant. */
  async get(tenantId: string, metric: string, period?: string): Promise<Usage | null> {
    return await this.#read(await this.#place(tenantId, metric, this.#periodToRead(period)));
  }

  /** Every metric of one period, ordered by id. Throws `not_found` if the tenant does not exist. */
  async getAll(tenantId: string, period?: string): Promise<Usage[]> {
    return (await usageOf(this.work, shortTenantId(tenantId), this.#periodToRead(period))).usage;
  }

  /** Sets an absolute value. For a counter, or in a closed month, it is a correction, which is audited. If omitted, `limit` is unchanged. */
  async record(
    tenantId: string,
    metric: string,
    value: number,
    limit?: number | null,
    period?: string,
    options: ChangeOptions = {},
  ): Promise<Usage> {
    assertMeters(this.work);
    parseInput(usagePut, { value, limit });
    const place = await this.#place(tenantId, metric, this.#periodToWrite(period));
    const request = { value, ...limited(limit) };
    // The usage of a closed month is final: whoever changes it leaves an audit entry.
    if (place.metric.kind === "counter" || isClosed(place.period, this.#nowMs)) {
      return await this.#correct(place, { to: () => value, limit, request }, options);
    }
    const before = await this.#usage.get(place.key);
    const beside = (reserved: number): Count => ({
      add: [
        { path: ["current"], to: rules.plus(value, reserved) },
        { path: ["daily", this.#day(place)], to: value },
        reservedStays({ min: reserved, max: reserved }),
      ],
      merge: this.#merge(place, limit),
    });
    const idempotency = keyed("usage.record", options, { key: place.key, ...request });
    const counted = await matching(place, options, (own) => this.#meter.count(place, beside, own, idempotency));
    return await this.#counted(place, counted, () => before);
  }

  /** Adds an amount atomically. Throws `period_closed`, and `usage_below_zero` if a negative one is too large. With an idempotency key it counts once. */
  async increment(
    tenantId: string,
    metric: string,
    amount = 1,
    limit?: number | null,
    period?: string,
    options: ChangeOptions = {},
  ): Promise<Usage> {
    assertMeters(this.work);
    parseInput(usageIncrement, { amount, limit });
    const place = await this.#place(tenantId, metric, this.#periodToWrite(period));
    const request = { amount, ...limited(limit) };
    if (amount < 0 && place.metric.kind === "counter") {
      const to = (current: number) => rules.lowered(place.metric.id, current, amount);
      return await this.#correct(place, { to, limit, request }, options);
    }
    this.#assertOpen(place);
    const before = limit === undefined ? undefined : await this.#usage.get(place.key);
    const merge = this.#merge(place, limit);
    const lowering = (reserved: number): Count => ({
      add: [...this.#adding(place, amount, { min: reserved }), reservedStays({ max: reserved })],
      merge,
      refusal: rules.belowZero(place.metric.id, amount),
    });
    const count = amount < 0 ? lowering : { add: this.#adding(place, amount, {}), merge };
    const idempotency = keyed("usage.increment", options, { key: place.key, ...request });
    const counted = await exactly(() => matching(place, options, (own) => this.#meter.count(place, count, own, idempotency)));
    return await this.#counted(place, counted, (after) => before === undefined ? less(after, amount) : before);
  }

  /** Adds an amount only if the policy allows all of it, atomically. Concurrent calls never exceed the limit of a `hard` metric. Throws `period_closed`. */
  async consume(
    tenantId: string,
    metric: string,
    amount: number,
    period?: string,
    options: ChangeOptions = {},
  ): Promise<UsageConsumption> {
    assertMeters(this.work);
    parseInput(usageConsume, { amount });
    const place = await this.#place(tenantId, metric, this.#periodToWrite(period));
    this.#assertOpen(place);
    const adding = { add: this.#adding(place, amount, boundOf(place.metric)), merge: this.#merge(place, undefined) };
    const idempotency = keyed("usage.consume", options, { key: place.key, amount });
    const consumed = await exactly(() => matching(place, options, (own) => this.#meter.consume(place, amount, adding, own, idempotency)));
    if (consumed.tooMuch) return judged(consumed.tooMuch, 0, place.metric, false);
    const count = usageCount.parse(consumed.value);
    await this.#settle(place, count, consumed.version, less(count, amount));
    return judged(count, 0, place.metric, true);
  }

  async isOverLimit(tenantId: string, metric: string, period?: string): Promise<boolean> {
    const usage = await this.get(tenantId, metric, period);
    return usage !== null && rules.isOverLimit(usage.current, usage.limit);
  }

  /** Whether `amount` more would fit. Records nothing. Throws `not_found` if the tenant does not exist. */
  async check(tenantId: string, metric: string, amount = 1, period?: string): Promise<UsageCheck> {
    assertMeters(this.work);
    parseInput(usageConsume, { amount });
    const place = await this.#place(tenantId, metric, this.#periodToRead(period));
    const usage = await this.#read(place);
    if (!usage) throw errors.notFound("tenant", tenantId);
    return { ...judged(usage, amount, place.metric), percentage: usage.percentage };
  }

  /** Updates the tenant's `usagePercent`, alerts and levels of the current period, where they differ. Throws `not_found`. */
  async refreshPercent(tenantId: string): Promise<number> {
    return await this.#meter.settle(shortTenantId(tenantId));
  }

  async #correct(place: Place, correction: Parameters<Meter["correct"]>[1], options: ChangeOptions): Promise<Usage> {
    const { before, ...counted } = await matching(place, options, (own) => this.#meter.correct(place, correction, own));
    return await this.#counted(place, counted, () => before);
  }

  /** The usage after a count. */
  async #counted(place: Place, counted: Counted, levelBefore: (after: UsageRecord) => Level | null): Promise<Usage> {
    const record = usageRecord.schema.parse(counted.value);
    const settled = await this.#settle(place, record, counted.version, levelBefore(record));
    if (!settled) return rules.viewOf(record, place.metric, counted.version);
    return rules.viewOf(usageRecord.schema.parse(settled.value), place.metric, settled.version);
  }

  /** Writes alerts and `usagePercent` if the count crossed a threshold, or if that is unknown. Returns the record if its day changed. */
  async #settle(place: Place, after: UsageCount, version: string, before: Level | null): Promise<Counted | null> {
    const settled = place.metric.kind === "gauge" ? await this.#meter.settleDay(place, after, version) : null;
    const { thresholds } = place.metric;
    const crossed = !before || rules.thresholdsReached(before, thresholds) !== rules.thresholdsReached(after, thresholds);
    if (crossed) await this.#meter.settleAfter(place);
    return settled;
  }

  async #read(place: Place): Promise<Usage | null> {
    const record = await this.#usage.get(place.key);
    if (record) return rules.viewOf(record, place.metric, record.version);
    const opening = await openingOf(this.work, place);
    return opening && rules.viewOf(opening.record, place.metric, null);
  }

  #adding(place: Place, by: number, bounds: Pick<Addition, "min" | "maxOf">): Addition[] {
    return additionsOf(place, by, this.#nowMs, bounds);
  }

  #merge({ metric }: Place, limit: number | null | undefined): JsonObject {
    const now = this.work.now();
    return { updatedAt: now, ...(metric.kind === "gauge" ? { levelAt: now } : {}), ...(limit === undefined ? {} : { limit }) };
  }

  #day(place: Place): string {
    return bookingDay(place, this.#nowMs);
  }

  async #place(tenantId: string, metric: string, period: string): Promise<Place> {
    return placeOf(shortTenantId(tenantId), await metricOf(this.work, metric), period);
  }

  /** A period of a read, by default the current one. Throws `invalid_parameter`. */
  #periodToRead(period = periodOf(this.#nowMs)): string {
    const fault = periodFault(period, this.#nowMs);
    if (fault !== null) throw errors.parameter("period", fault);
    return period;
  }

  /** A period of a write, by default the current one. Throws `validation_failed`. */
  #periodToWrite(period = periodOf(this.#nowMs)): string {
    assertPeriod(period, this.#nowMs);
    return period;
  }

  /** Throws `period_closed`. */
  #assertOpen({ period }: Place): void {
    if (isClosed(period, this.#nowMs)) throw rules.monthClosed(period);
  }

  get #nowMs(): number {
    return this.work.context.clock.now();
  }
}

/** Refuses the count if another amount is reserved by then, so that it is decided again. */
function reservedStays(within: { readonly min?: number; readonly max: number }): Addition {
  return { path: ["reserved"], by: 0, ...within };
}

function keyed(operation: string, { idempotencyKey: key }: ChangeOptions, request: JsonObject): Idempotency | undefined {
  return key === undefined ? undefined : { operation, key, request };
}

/** Callers know the versions of views. `write` gets the versions of the records, and a 412 reports the version of the view. */
async function matching<T>({ metric }: Place, options: ChangeOptions, write: (own: ChangeOptions) => Promise<T>): Promise<T> {
  const suffix = rules.versionSuffix(metric);
  if (suffix === "") return await write(options);
  const own = (match: IfMatch | undefined) => (
    match === undefined || match === "*"
      ? match
      : match.filter((version) => version.endsWith(suffix)).map((version) => version.slice(0, -suffix.length))
  );
  try {
    return await write({ ...options, ifMatch: own(options.ifMatch), ifNoneMatch: own(options.ifNoneMatch) });
  } catch (error) {
    const version = isInnkeepError(error, "precondition_failed") ? error.details["currentVersion"] : null;
    if (!(error instanceof InnkeepError) || typeof version !== "string") throw error;
    throw new InnkeepError(error.code, error.message, [], { currentVersion: version + suffix });
  }
}

/** Without a limit, the member is absent: such a request differs from one with null, which removes the limit. */
function limited(limit: number | null | undefined): { readonly limit?: number | null } {
  return limit === undefined ? {} : { limit };
}

function less({ current, limit }: Level, amount: number): Level {
  return { current: rules.plus(current, -amount), limit };
}

/** Runs a count. An error about an inexact sum in the record becomes one about the caller's amount. */
async function exactly<T>(count: () => Promise<T>): Promise<T> {
  try {
    return await count();
  } catch (error) {
    const isInexact = isInnkeepError(error, "validation_failed") &&
      error.fields.some(({ path }) => /^\/(current|daily|hourly)\b/.test(path));
    throw isInexact ? errors.validation([{ path: "/amount", ...rules.INEXACT }]) : error;
  }
}
