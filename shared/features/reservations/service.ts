import { parseInput, type Stored } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { Filters, Page, Pagination, Sort } from "../../core/paging.ts";
import { periodOf } from "../../core/periods.ts";
import type { Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { assertMeters, fits } from "../usage/policies.ts";
import { type Place, placeOf } from "../usage/reads.ts";
import { plus } from "../usage/rules.ts";
import { commitInput, type Reservation, reservation, reserveInput } from "./entity.ts";
import { releaseExpiredOf } from "./expiry.ts";
import { assertCommittable, assertReleasable, committed, exceeded, released, shown } from "./rules.ts";
import { findUsage, type FoundUsage, settleCrossed, type UsagePart, usagePart } from "./usage.ts";

export type StoredReservation = Stored<typeof reservation>;

/** A decided change of a reservation with the change of the usage. */
interface Written {
  readonly before: StoredReservation | null;
  readonly record: Reservation;
  readonly part: UsagePart;
}
interface Result {
  readonly record: Reservation | null;
}

/**
 * Amounts that are held before they are used. Each call is one commit of the reservation and the usage that contains it. Like all
 * metering it is not audited.
 */
export class ReservationService extends TenantReadService<typeof reservation> {
  constructor(work: UnitOfWork) {
    super(work, reservation);
  }

  /** One that has expired is shown as released. The filter `status` finds it as held until the job has written that. */
  override async list(tenantId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredReservation>> {
    const page = await super.list(tenantId, filters, sort, pagination);
    return { ...page, data: page.data.map((record) => this.#shown(record)) };
  }

  override async get(tenantId: string, id: string): Promise<StoredReservation | null> {
    const record = await super.get(tenantId, id);
    return record && this.#shown(record);
  }

  /**
   * Holds an amount of the current month for `expiresInSeconds` (300). Throws `usage_limit_exceeded` if the policy does not allow it,
   * and `not_found` for an unknown tenant or metric.
   */
  async reserve(
    tenantId: string,
    metric: string,
    amount: number,
    expiresInSeconds?: number,
    options: ChangeOptions = {},
  ): Promise<StoredReservation> {
    const input = parseInput(reserveInput, { amount, ...(expiresInSeconds === undefined ? {} : { expiresInSeconds }) });
    const tenant = shortTenantId(tenantId);
    const known = await metricOf(this.work, metric);
    const request = { tenantId: tenant, metric, ...input };
    const made = await this.#transact("reservation.reserve", request, options, async (attempt) => {
      const nowMs = this.work.context.clock.now();
      const place = placeOf(tenant, known, periodOf(nowMs));
      const found = await this.#fitting(place, amount);
      const part = usagePart(this.work, found, { current: amount, reserved: amount }, attempt);
      const expiresAt = isoTime(nowMs + input.expiresInSeconds * 1_000);
      const record = this.records.newRecord({ tenantId: tenant, metric, period: place.period, amount, status: "held", expiresAt });
      return { part, before: null, record };
    });
    if (!made) throw errors.notFound("tenant", tenant);
    return made;
  }

  /**
   * Counts the amount that was used, by default the one that is held, in the month of the reservation. A gauge's counts in the current
   * month. Repeating a commit changes nothing. Null if there is no such reservation. Throws `reservation_expired`,
   * `reservation_ended`, and `usage_limit_exceeded` if more than the held amount was used and does not fit.
   */
  async commit(
    tenantId: string,
    metric: string,
    id: string,
    amount?: number,
    options: ChangeOptions = {},
  ): Promise<StoredReservation | null> {
    parseInput(commitInput, amount === undefined ? {} : { amount });
    return await this.#end(
      "reservation.commit",
      tenantId,
      { metric, id, ...(amount === undefined ? {} : { amount }) },
      options,
      async (before, attempt) => {
        const used = amount ?? before.amount;
        if (!assertCommittable(before, used, this.work.now())) return null;
        return { part: await this.#used(before, used, attempt), record: committed(before, used, this.work.now()) };
      },
    );
  }

  /** Frees the amount. Repeating it changes nothing. Null if there is no such reservation. Throws `reservation_ended`. */
  async release(tenantId: string, metric: string, id: string, options: ChangeOptions = {}): Promise<StoredReservation | null> {
    return await this.#end("reservation.release", tenantId, { metric, id }, options, async (before, attempt) => {
      if (!assertReleasable(before)) return null;
      const found = await findUsage(this.work, await this.#placeOf(before));
      const part = usagePart(this.work, found, { current: -before.amount, reserved: -before.amount }, attempt);
      return { part, record: released(before, this.work.now()) };
    });
  }

  /** The used amount in place of the held one. A gauge is a level: after the turn of the month it counts in the new month. */
  async #used(before: Reservation, used: number, attempt: number): Promise<UsagePart> {
    const place = await this.#placeOf(before);
    const now = this.work.now();
    const current = placeOf(before.tenantId, place.metric, periodOf(Date.parse(now)));
    if (place.metric.kind === "gauge" && current.period > place.period) {
      const [held, found] = await Promise.all([findUsage(this.work, place), this.#fitting(current, used)]);
      const freed = usagePart(this.work, held, { current: -before.amount, reserved: -before.amount }, attempt);
      return joined(freed, usagePart(this.work, found, { current: used, used: { amount: used, at: now } }, attempt));
    }
    const more = plus(used, -before.amount);
    const found = more > 0 ? await this.#fitting(place, more) : await findUsage(this.work, place);
    const at = current.period === place.period ? now : before.createdAt;
    return usagePart(this.work, found, { current: more, reserved: -before.amount, used: { amount: used, at } }, attempt);
  }

  /** The usage, if the amount can be added to it. Releases expired reservations if it cannot. Throws `usage_limit_exceeded`. */
  async #fitting(place: Place, amount: number): Promise<FoundUsage> {
    const found = await findUsage(this.work, place);
    if (fits(found.record, amount, place.metric)) return found;
    const freed = found.record.reserved > 0 && await releaseExpiredOf(this.work, place) > 0;
    const after = freed ? await findUsage(this.work, place) : found;
    if (!fits(after.record, amount, place.metric)) throw exceeded(place.metric, amount, after.record);
    return after;
  }

  async #placeOf({ tenantId, metric, period }: Reservation): Promise<Place> {
    return placeOf(tenantId, await metricOf(this.work, metric), period);
  }

  /** A change of a reservation. `decide` returns null if nothing has to be written. */
  async #end(
    operation: string,
    tenantId: string,
    request: JsonObject & { readonly metric: string; readonly id: string },
    options: ChangeOptions,
    decide: (before: StoredReservation, attempt: number) => Promise<Omit<Written, "before"> | null>,
  ): Promise<StoredReservation | null> {
    const key = this.keyOf(tenantId, request.id);
    return await this.#transact(operation, { key, ...request }, options, async (attempt) => {
      const before = await this.records.get(key);
      if (!before || before.metric !== request.metric) return null;
      assertMatch(before.version, options);
      const decided = await decide(before, attempt);
      return decided ? { ...decided, before } : before;
    });
  }

  /** Commits what `decide` returns with the usage. A record that it returns is the result, and null means that there is none. */
  async #transact(
    operation: string,
    request: JsonObject,
    { idempotencyKey: key }: ChangeOptions,
    decide: (attempt: number) => Promise<Written | StoredReservation | null>,
  ): Promise<StoredReservation | null> {
    let attempt = 0;
    let part = null as UsagePart | null;
    assertMeters(this.work);
    const run = async (): Promise<Decision<Result>> => {
      const decided = await decide(++attempt);
      if (!decided) return { done: { record: null }, isFailure: true };
      if (!isWritten(decided)) return { done: { record: decided }, resultOf: decided.tenantId };
      const { part: { checks, mutations }, before } = decided;
      part = decided.part;
      const { version: _, ...record } = { ...decided.record, updatedAt: this.work.now() } as StoredReservation;
      const changes = [{ entity: reservation, before, after: record as Reservation }];
      const result = { record: record as Reservation };
      return { commit: { changes, checks, mutations, audit: "none", result }, resultOf: result.record.tenantId };
    };
    const outcome = await this.work.transact(run, key === undefined ? undefined : { operation, key, request });
    const { result: { record }, version, values } = outcome;
    if (version !== null && !this.work.replayed) await this.#follow(part, values);
    return record && this.#shown((version === null ? record : { ...record, version }) as StoredReservation);
  }

  /** What follows from a commit. */
  async #follow(part: UsagePart | null, values: Readonly<Record<string, unknown>>): Promise<void> {
    for (const mark of part?.marks ?? []) mark.written();
    await settleCrossed(this.work, part?.added ?? [], values);
  }

  /** As responses show it. A representation that differs from the record has another ETag (RFC 9110 §8.8.1). */
  #shown(record: StoredReservation): StoredReservation {
    const view = shown(record, this.work.now());
    return view === record ? record : { ...view, version: `${record.version}-expired` };
  }
}

function isWritten(decided: Written | StoredReservation): decided is Written {
  return "part" in decided;
}

function joined(a: UsagePart, b: UsagePart): UsagePart {
  return {
    checks: [...a.checks, ...b.checks],
    mutations: [...a.mutations, ...b.mutations],
    marks: [...a.marks, ...b.marks],
    added: [...a.added, ...b.added],
  };
}
