import { periodOf } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import { type Outcome, type Transaction, type UnitOfWork, unlessDeleted } from "../../core/unit-of-work.ts";
import type { Idempotency } from "../../kernel/context.ts";
import { errors, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import type { Check, Mutation } from "../../kv/store.ts";
import { releaseExpiredOf } from "../reservations/expiry.ts";
import { besides, type Correction, type Count, type CountBeside, type Counted, isBelow, isConditional, raised } from "./count.ts";
import { type UsageCount, type UsageRecord, usageRecord } from "./entity.ts";
import { type Mark, markFor } from "./marks.ts";
import { fits } from "./policies.ts";
import { bookingDay, bookingHour, type Opening, openingOf, type Place } from "./reads.ts";
import { corrected, type Level, levelled, plus, settledLevel } from "./rules.ts";
import { settleUsage } from "./settle.ts";
import { Windows } from "./windows.ts";

interface Found {
  readonly record: UsageRecord;
  /** Null if there is no record yet. */
  readonly version: string | null;
  readonly opening: Opening | null;
}

/** The attempts in which a gauge's first write checks the earlier record that it continues. After them, a write there counts as later. */
const CARRY_CHECKS = 3;
/** Above this, counts change usage faster than what follows from it can be written. The job `usage` writes it within a minute. */
const MAX_SETTLEMENTS = 5;

/** The decisions of a count that depends on what is reserved, which every reservation changes. */
const BESIDE_ATTEMPTS = 20;
/** Records whose bound refused an amount within the last second. They are read first, because a refused batch is sent again one by one. */
const refused = new Windows(1_000);

/** Writes usage. Counts are not audited, because the usage record is the record of them. Corrections of counters are audited. */
export class Meter {
  readonly #usage: Records<typeof usageRecord>;

  constructor(private readonly work: UnitOfWork) {
    this.#usage = new Records(usageRecord, work);
  }

  /** Counts with one store call if there is a record, and neither If-Match nor an idempotency key. */
  async count(place: Place, count: Count | CountBeside, options: ChangeOptions, idempotency: Idempotency | undefined): Promise<Counted> {
    if (!isConditional(options) && idempotency === undefined && this.work.idempotency === undefined) {
      const mark = markFor(this.work, place.tenantId, place.period);
      const counting = mark ? this.#withMark(place, besides(count, 0), mark) : this.#plainly(place, count);
      const counted = await unlessDeleted(place.tenantId, counting);
      if (counted) return counted;
    }
    let decisions = 0;
    const outcome = await this.#marking(place, (mark) =>
      this.work.transact(async () => {
        decisions += 1;
        const found = await this.#find(place, options);
        const own = besides(count, found.record.reserved);
        if (own.refusal && isBelow(found.record, own)) throw own.refusal;
        const commit = this.#commit(place, own, found, decisions, options, mark);
        const beside = typeof count === "function" ? { attempts: BESIDE_ATTEMPTS } : {};
        return { commit: { ...commit, ...beside }, resultOf: place.tenantId };
      }, idempotency));
    return countedBy(place, outcome);
  }

  /** Adds an amount, up to the limit or what the policy allows above it. If it passes the bound, the record is read again, and then it does not fit. */
  async consume(
    place: Place,
    amount: number,
    count: Count,
    options: ChangeOptions,
    idempotency: Idempotency | undefined,
  ): Promise<Counted & { readonly tooMuch?: undefined } | { readonly tooMuch: Level }> {
    if (!isConditional(options) && idempotency === undefined && this.work.idempotency === undefined) {
      const counted = await unlessDeleted(place.tenantId, this.#consumePlainly(place, count));
      if (counted) return counted;
    }
    let decisions = 0;
    const outcome = await this.#marking(place, (mark) =>
      this.work.transact<{ readonly tooMuch?: Level }>(async () => {
        decisions += 1;
        const found = await this.#findFitting(place, amount, options);
        const { current, limit } = found.record;
        if (!fits(found.record, amount, place.metric)) return { done: { tooMuch: { current, limit } }, resultOf: place.tenantId };
        return { commit: this.#commit(place, count, found, decisions, options, mark), resultOf: place.tenantId };
      }, idempotency));
    const { tooMuch } = outcome.result;
    return tooMuch ? { tooMuch } : countedBy(place, outcome);
  }

  /** Sets a counter, or a gauge of a closed month, with a check of the version that was read, so that the audit entry has the previous value. */
  async correct(place: Place, { to, limit, request }: Correction, options: ChangeOptions): Promise<Counted & { readonly before: Level }> {
    let level: Level = { current: 0, limit: null };
    let isCorrected = false;
    const mark = markFor(this.work, place.tenantId, place.period);
    const { record: { version, ...value } } = await this.#usage.put(place.key, options, async (before) => {
      const opening = before ? null : await this.#opening(place);
      const { version: _, ...found } = (before ?? opening?.record) as UsageRecord & { version?: string };
      level = found;
      const [day, hour] = [this.#day(place), bookingHour(place, this.work.context.clock.now())];
      const value = to(settledLevel(found));
      const after = {
        ...(place.metric.kind === "gauge" ? levelled(found, value, day) : corrected(found, plus(value, found.reserved), day, hour)),
        limit: limit === undefined ? found.limit : limit,
      };
      const differs = !before || after.current !== found.current || after.limit !== found.limit;
      isCorrected = differs;
      const record = differs ? { ...after, updatedAt: this.work.now() } : found;
      return { action: "usage.corrected", record, checks: opening?.checks ?? [], mutations: differs && mark ? [mark.mutation] : [] };
    }, request);
    if (isCorrected && !this.work.replayed) mark?.written();
    return { before: level, value: value as JsonObject, version };
  }

  /**
   * Sets a gauge's amount of the day to its level. The first addition of a day misses it, because the day starts at zero.
   * Only the last writer does this. Null if nothing was set.
   */
  async settleDay(place: Place, record: UsageCount, version: string): Promise<Counted | null> {
    const [day, level] = [this.#day(place), settledLevel(record)];
    // A version with a decimal part is an intermediate result of a batch. The batch's last call settles the day.
    if (place.metric.kind !== "gauge" || record.daily[day] === level || !/^\d+$/.test(version)) return null;
    const { key } = place;
    const mutation: Mutation = { op: "increment", key, add: [{ path: ["daily", day], to: level }] };
    const settled = await this.#afterCounting(place, () => this.work.store.commit([{ key, version }], [mutation]));
    const value = settled?.ok && settled.values[key];
    return value ? { value, version: settled.versions[key] ?? version } : null;
  }

  /**
   * Writes what follows from the usage of the current month: the tenant's `usagePercent` without `updatedAt`, alerts and levels. Reads
   * again after a write: a concurrent count that restored the earlier level found nothing to write. Throws `not_found`.
   */
  async settle(tenantId: string): Promise<number> {
    for (let writes = 1;; writes++) {
      const { percent, written } = await settleUsage(this.work, tenantId, periodOf(this.work.context.clock.now()));
      if (!written || writes === MAX_SETTLEMENTS) return percent;
    }
  }

  /** Like `settle`, after a count in the current period. A retryable failure is ignored: the job `usage` settles what the count marked. */
  async settleAfter(place: Place): Promise<void> {
    if (place.period === periodOf(this.work.context.clock.now())) {
      await this.#afterCounting(place, () => this.settle(place.tenantId));
    }
  }

  /**
   * A write that follows a committed count. A retryable failure is logged and not reported, because an error would make the caller
   * count again. The job `usage` repeats the write.
   */
  async #afterCounting<T>({ tenantId, metric }: Place, write: () => Promise<T>): Promise<T | null> {
    try {
      return await unlessDeleted(tenantId, write());
    } catch (error) {
      if (!isInnkeepError(error) || !error.retryable) throw error;
      const { context: { requestId }, platform: { logger } } = this.work;
      logger.warn("usage_not_settled", { requestId, tenantId, metric: metric.id, code: error.code });
      return null;
    }
  }

  /** Runs a transaction that writes the mark. Without a version it wrote nothing, and neither did one that had been recorded before. */
  async #marking<T>({ tenantId, period }: Place, run: (mark: Mark | null) => Promise<Outcome<T>>): Promise<Outcome<T>> {
    const mark = markFor(this.work, tenantId, period);
    const outcome = await run(mark);
    if (outcome.version !== null && !this.work.replayed) mark?.written();
    return outcome;
  }

  /** A count in one store call. Null if there is no record, or if something is reserved that the count has to consider. */
  async #plainly({ key }: Place, count: Count | CountBeside): Promise<Counted | null> {
    const { add, merge } = besides(count, 0);
    try {
      return await this.work.store.increment(key, add, { merge });
    } catch (error) {
      if (typeof count === "function" && isInnkeepError(error, "write_conflict")) return null;
      throw error;
    }
  }

  /** A count with its mark. Null if there is no record, or if it would pass a bound: then the record decides. */
  async #withMark({ key }: Place, { add, merge }: Count, mark: Mark | null): Promise<Counted | null> {
    const committed = await this.work.store.commit([], [{ op: "increment", key, add, merge }, ...mark ? [mark.mutation] : []]);
    if (committed.ok) mark?.written();
    if (!committed.ok) return null;
    const value = committed.values[key];
    return value ? { value, version: committed.versions[key] ?? "" } : null;
  }

  /** The usage record, or its first form. Throws `precondition_failed`, and `not_found` if the tenant does not exist. */
  async #find(place: Place, options: ChangeOptions): Promise<Found> {
    const record = await this.#usage.get(place.key);
    const opening = record ? null : await this.#opening(place);
    if (options.ifMatch !== undefined && !record) throw errors.preconditionFailed(null);
    if (record) assertMatch(record.version, options);
    return { record: record ?? (opening as Opening).record, version: record?.version ?? null, opening };
  }

  /** Adds an amount that fits in one store call, which is merged with others. Null if the record has to be read to decide. */
  async #consumePlainly({ tenantId, period, key }: Place, { add, merge }: Count): Promise<Counted | null> {
    const { platform, context: { clock } } = this.work;
    if (markFor(this.work, tenantId, period) || refused.covers(platform, key, clock.now())) return null;
    try {
      return await this.work.store.increment(key, add, { merge });
    } catch (error) {
      if (!isInnkeepError(error, "write_conflict")) throw error;
      refused.note(platform, key, clock.now());
      return null;
    }
  }

  /** Like `#find`. If the amount does not fit beside what is reserved, first releases the reservations that have expired. */
  async #findFitting(place: Place, amount: number, options: ChangeOptions): Promise<Found> {
    const found = await this.#find(place, options);
    if (found.record.reserved === 0 || fits(found.record, amount, place.metric)) return found;
    return await releaseExpiredOf(this.work, place) === 0 ? found : await this.#find(place, options);
  }

  #commit(
    place: Place,
    { add, merge }: Count,
    { record, version, opening }: Found,
    decisions: number,
    options: ChangeOptions,
    mark: Mark | null,
  ): Transaction<Readonly<Record<never, never>>> {
    const { key, metric } = place;
    const behind = opening ? 0 : this.#behind(place, record);
    const isPinned = isConditional(options) || behind !== 0;
    const checks: Check[] = [...opening?.checks ?? [], ...(isPinned ? [{ key, version }] : [])];
    if (opening?.carried && decisions <= CARRY_CHECKS) checks.push(opening.carried);
    // A concurrent first writer creates the same record, and both amounts are added to it.
    const daily = metric.kind === "gauge" ? { [this.#day(place)]: record.current } : {};
    const initial = opening ? { initial: { value: { ...record, daily } as JsonObject } } : {};
    return {
      checks,
      mutations: [{
        op: "increment",
        key,
        add: behind === 0 ? add : add.map((one) => raised(one, behind)),
        merge,
        receipt: true,
        ...initial,
      }, ...mark ? [mark.mutation] : []],
      audit: "none",
      result: {},
    };
  }

  async #opening(place: Place): Promise<Opening> {
    const opening = await openingOf(this.work, place);
    if (!opening) throw errors.notFound("tenant", place.tenantId);
    return opening;
  }

  /** A gauge's level minus its amount of the day. Added here too, so that the result that a key records needs no `settleDay`. */
  #behind(place: Place, record: UsageRecord): number {
    return place.metric.kind === "gauge" ? plus(settledLevel(record), -(record.daily[this.#day(place)] ?? 0)) : 0;
  }

  #day(place: Place): string {
    return bookingDay(place, this.work.context.clock.now());
  }
}

function countedBy({ key }: Place, { values, version }: Pick<Outcome<object>, "values" | "version">): Counted {
  const value = values[key];
  // Retention or the deletion of the tenant has deleted the record between the read and the count.
  if (!value || version === null) throw errors.writeConflict(key);
  return { value, version };
}
