import { parseInput } from "../../core/collection.ts";
import { dayOf, periodEnd, periodOf } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { period as periodSchema } from "../../core/values.ts";
import type { Idempotency } from "../../kernel/context.ts";
import { errors, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import type { Addition, Check } from "../../kv/store.ts";
import { plan as planEntity } from "../plans/entity.ts";
import { shortTenantId, tenant as tenantEntity } from "../tenants/entity.ts";
import { type Metric, METRICS, usageIncrement, usagePut, type UsageRecord, usageRecord } from "./entity.ts";
import { emptyUsage } from "./limits.ts";
import { checkAmount, isOverLimit, limitOf, usagePercentage } from "./rules.ts";

/** A usage record as callers see it: with its percentage, and when the next period begins. */
export type Usage = UsageRecord & {
  /** 0–100, rounded; 100 when over, 0 when unlimited. */
  readonly percentage: number;
  /** First instant of the next period. */
  readonly resetsAt: string;
  /** Null: nothing was ever recorded for it. */
  readonly version: string | null;
};

export interface UsageCheck {
  readonly allowed: boolean;
  readonly current: number;
  readonly limit: number | null;
  /** Null is unlimited. */
  readonly remaining: number | null;
  readonly percentage: number;
}

const INEXACT = { message: "makes a sum beyond 2^53 - 1, or of more digits than a double holds", code: "inexact_sum" };

/** Metering. Not audited: it is the counting itself that is the record. */
export class UsageService {
  readonly #usage: Records<typeof usageRecord>;

  constructor(private readonly work: UnitOfWork) {
    this.#usage = new Records(usageRecord, work);
  }

  /** A metric never used reads as zero with the plan's limit. Null when there is no such tenant. */
  async get(tenantId: string, metric: Metric, period?: string): Promise<Usage | null> {
    const at = this.#address(tenantId, metric, period);
    const record = await this.#usage.get(at.key);
    if (record) return viewOf(record, record.version);
    const limits = await this.#planLimits(at.tenantId);
    return limits && viewOf(this.#empty(at, limitOf(limits, metric)), null);
  }

  /** Every metric of that period and of no other. Throws `not_found` without the tenant. */
  async getAll(tenantId: string, period?: string): Promise<Usage[]> {
    const places = METRICS.map((metric) => this.#address(tenantId, metric, period));
    const records = await this.#usage.getMany(places.map(({ key }) => key));
    const limits = records.every((record) => record) ? null : await this.#planLimits(shortTenantId(tenantId));
    if (records.some((record) => !record) && !limits) throw errors.notFound("tenant", tenantId);
    return places.map((at, i) => {
      const record = records[i];
      return record ? viewOf(record, record.version) : viewOf(this.#empty(at, limits && limitOf(limits, at.metric)), null);
    });
  }

  /** Sets an absolute value: a gauge such as rooms or storage. `limit` is kept when left out. */
  async record(
    tenantId: string,
    metric: Metric,
    value: number,
    limit?: number | null,
    period?: string,
    options: ChangeOptions = {},
  ): Promise<Usage> {
    parseInput(usagePut, { value, limit });
    const at = this.#address(tenantId, metric, period);
    const set = (day: string): Addition[] => [{ path: ["current"], to: value }, { path: ["daily", day], to: value }];
    return await this.#counted("usage.record", at, { value, limit: limit ?? null }, set, limit, options);
  }

  /** Adds atomically; with an idempotency key a call counts once, however often it is sent. */
  async increment(
    tenantId: string,
    metric: Metric,
    amount = 1,
    limit?: number | null,
    period?: string,
    options: ChangeOptions = {},
  ): Promise<Usage> {
    parseInput(usageIncrement, { amount, limit });
    const at = this.#address(tenantId, metric, period);
    const add = (day: string): Addition[] => [{ path: ["current"], by: amount }, { path: ["daily", day], by: amount }];
    try {
      return await this.#counted("usage.increment", at, { amount, limit: limit ?? null }, add, limit, options);
    } catch (error) {
      // The database names the place in the record that has no exact sum; the caller gave the amount.
      const isInexact = isInnkeepError(error, "validation_failed") && error.fields.some(({ path }) => /^\/(current|daily)\b/.test(path));
      throw isInexact ? errors.validation([{ path: "/amount", ...INEXACT }]) : error;
    }
  }

  async isOverLimit(tenantId: string, metric: Metric, period?: string): Promise<boolean> {
    const usage = await this.get(tenantId, metric, period);
    return usage !== null && isOverLimit(usage.current, usage.limit);
  }

  /** Whether `amount` more would still fit. Throws `not_found` without the tenant. */
  async check(tenantId: string, metric: Metric, amount = 1, period?: string): Promise<UsageCheck> {
    parseInput(usageIncrement, { amount });
    const usage = await this.get(tenantId, metric, period);
    if (!usage) throw errors.notFound("tenant", tenantId);
    return { ...checkAmount(usage.current, usage.limit, amount), current: usage.current, limit: usage.limit, percentage: usage.percentage };
  }

  /** The short way, unless the call rests on a version or shall count once. */
  async #counted(
    operation: string,
    at: Address,
    request: JsonObject,
    add: (day: string) => Addition[],
    limit: number | null | undefined,
    options: ChangeOptions,
  ): Promise<Usage> {
    const { ifMatch, idempotencyKey: key } = options;
    const idempotency = key === undefined ? undefined : { operation, key, request: { key: at.key, ...request } };
    const isPlain = ifMatch === undefined && idempotency === undefined && this.work.idempotency === undefined;
    return await (isPlain ? this.#count(at, add, limit) : this.#countInCommit(at, add, limit, options, idempotency));
  }

  /** One store call in the steady state; only a record's first use looks up its tenant and plan. */
  async #count(at: Address, add: (day: string) => Addition[], limit: number | null | undefined): Promise<Usage> {
    const merge = { updatedAt: this.work.now(), ...(limit === undefined ? {} : { limit }) };
    const additions = add(this.#day(at.period));
    const counted = await this.work.store.increment(at.key, additions, { merge }) ??
      await this.work.store.increment(at.key, additions, { merge, initial: { value: await this.#first(at) } });
    if (!counted) throw errors.writeConflict(at.key);
    return viewOf(usageRecord.schema.parse(counted.value), counted.version);
  }

  /** As a commit, which can rest on the record's version and remember that the call was made. */
  async #countInCommit(
    at: Address,
    add: (day: string) => Addition[],
    limit: number | null | undefined,
    options: ChangeOptions,
    idempotency?: Idempotency,
  ): Promise<Usage> {
    const merge = { updatedAt: this.work.now(), ...(limit === undefined ? {} : { limit }) };
    const mutation = { op: "increment" as const, key: at.key, add: add(this.#day(at.period)), merge };
    const { values, version } = await this.work.transact(async () => {
      const initial = { value: await this.#first(at) };
      const checks = await this.#matching(at, options);
      return { commit: { checks, mutations: [{ ...mutation, initial }], audit: "none", result: {} } };
    }, idempotency);
    return viewOf(usageRecord.schema.parse(values[at.key]), version);
  }

  /** The version a caller's `If-Match` allows, for the commit to check again. */
  async #matching(at: Address, options: ChangeOptions): Promise<Check[]> {
    if (options.ifMatch === undefined) return [];
    const record = await this.#usage.get(at.key);
    if (!record) throw errors.preconditionFailed(null);
    assertMatch(record.version, options);
    return [{ key: at.key, version: record.version }];
  }

  #address(tenantId: string, metric: Metric, period = periodOf(this.work.context.clock.now())): Address {
    if (!METRICS.includes(metric)) throw errors.parameter("metric", `must be one of ${METRICS.join(", ")}`);
    if (!periodSchema.safeParse(period).success) throw errors.parameter("period", "must be YYYY-MM");
    const id = shortTenantId(tenantId);
    return { tenantId: id, metric, period, key: keyOf(usageRecord, { tenantId: id, metric, period }) };
  }

  /** Today within the current period; a past or coming period books on its first day. */
  #day(period: string): string {
    const now = this.work.context.clock.now();
    return periodOf(now) === period ? dayOf(now) : `${period}-01`;
  }

  #empty(at: Address, limit: number | null): UsageRecord {
    return emptyUsage(at.tenantId, at.metric, at.period, limit, this.work.now());
  }

  async #first(at: Address): Promise<JsonObject> {
    const limits = await this.#planLimits(at.tenantId);
    if (!limits) throw errors.notFound("tenant", at.tenantId);
    return this.#empty(at, limitOf(limits, at.metric)) as JsonObject;
  }

  async #planLimits(tenantId: string) {
    const owner = await new Records(tenantEntity, this.work).get(tenantId);
    const plan = owner && await new Records(planEntity, this.work).get(owner.plan);
    return plan?.limits ?? null;
  }
}

interface Address {
  readonly tenantId: string;
  readonly metric: Metric;
  readonly period: string;
  readonly key: string;
}

function viewOf(record: UsageRecord, version: string | null): Usage {
  return { ...record, percentage: usagePercentage(record.current, record.limit), resetsAt: periodEnd(record.period), version };
}
