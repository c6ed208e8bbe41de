import { parseInput, type Stored } from "../../core/collection.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { periodOf } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import { loadIds } from "../../kernel/ids.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { isSegment } from "../../kv/key.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { Meter } from "../usage/meter.ts";
import { assertMeters } from "../usage/policies.ts";
import { placeOf } from "../usage/reads.ts";
import { type EventBatch, eventTrack, trackedEvent } from "./cloud-event.ts";
import { correctionOf, type CorrectionTo } from "./corrections.ts";
import type { Outcome } from "./counting.ts";
import { eventCorrection, eventVoid, type UsageEvent, usageEvent } from "./entity.ts";
import { type GroupedUsage, groupsOf } from "./groups.ts";
import { Intake } from "./intake.ts";

export type StoredUsageEvent = Stored<typeof usageEvent>;

/** The result of an event, with what identifies it. Null: the item has none. */
export type EventResult = Outcome & {
  readonly id: string | null;
  readonly source: string | null;
  readonly usageEventId?: string;
};

export type TrackedEvent = Exclude<Outcome, { status: "rejected" }>;

/** Where the members of an event are in the body of `track`. */
const TRACK_PATHS: Readonly<Record<string, string>> = {
  "/type": "/meter_id",
  "/time": "/timestamp",
  "/id": "/event_id",
  "/data/amount": "/event_value",
};

/** Usage events. Each is stored and counted in one commit, once, however often it is received. */
export class UsageEventService {
  readonly #events: Records<typeof usageEvent>;
  readonly #intake: Intake;

  constructor(private readonly work: UnitOfWork) {
    this.#events = new Records(usageEvent, work);
    this.#intake = new Intake(work);
  }

  /** Counts the events and returns their results in order. A batch never fails for one of its items; a single event throws. */
  async ingest({ single, items }: EventBatch): Promise<EventResult[]> {
    assertMeters(this.work);
    const [first] = items;
    if (single && first && "event" in first) {
      const outcome = thrown(await this.#intake.one(first.event));
      return [{ id: first.event.id, source: first.event.source, ...outcome }];
    }
    const { result } = await this.work.transact(async () => ({ done: { outcomes: await this.#intake.all(items) }, resultOf: null }));
    return items.map((item, i) => {
      const { id, source } = "event" in item ? item.event : item;
      return { id, source, ...result.outcomes[i] as Outcome };
    });
  }

  /** Counts one event of a tenant. Throws `not_found`, `validation_failed`, `idempotency_mismatch`. */
  async track(tenantId: string, data: Parameters<typeof trackedEvent>[2]): Promise<TrackedEvent> {
    assertMeters(this.work);
    const input = parseInput(eventTrack, data);
    await loadIds();
    const event = trackedEvent(shortTenantId(tenantId), input.event_id ?? this.work.newId("evt"), input);
    // The id is part of the outcome: a repeat with an idempotency key has generated another one.
    return thrown(await this.#intake.one(event), TRACK_PATHS);
  }

  /** The events of one tenant. Throws `not_found` if the tenant does not exist. */
  async list(tenantId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredUsageEvent>> {
    const scope = shortTenantId(tenantId);
    const isTenant = this.work.context.tenantId !== null || (isSegment(scope) && await this.work.read(`tenant:${scope}`) !== null);
    if (!isTenant) throw errors.notFound("tenant", scope);
    return await listPage(this.#events, { ...selectionOf(usageEvent, filters), sort, pagination, scope });
  }

  /** Null if the tenant has no such event. */
  async get(tenantId: string, usageEventId: string): Promise<StoredUsageEvent | null> {
    const found = await this.#events.get(usageEventId);
    return found?.tenantId === shortTenantId(tenantId) ? found : null;
  }

  /** Takes what the event counted out of the usage. To void it again changes nothing. Null if the tenant has no such event. */
  async void(tenantId: string, usageEventId: string, data: { readonly reason: string }, options: ChangeOptions = {}) {
    const { reason } = parseInput(eventVoid, data);
    return await this.#change(tenantId, usageEventId, { amount: 0, status: "voided", reason }, options);
  }

  /** Gives the event another amount. Null if the tenant has no such event. Throws `invalid_transition` for one that was voided. */
  async correct(
    tenantId: string,
    usageEventId: string,
    data: { readonly amount: number; readonly reason: string },
    options: ChangeOptions = {},
  ): Promise<StoredUsageEvent | null> {
    return await this.#change(tenantId, usageEventId, { ...parseInput(eventCorrection, data), status: "corrected" }, options);
  }

  /** The usage of a month by the values of a dimension, the largest first. Null if the tenant does not exist. */
  async groups(tenantId: string, metric: string, dimension: string, period?: string): Promise<GroupedUsage | null> {
    return await groupsOf(this.work, tenantId, metric, dimension, period);
  }

  async #change(tenantId: string, id: string, to: CorrectionTo, options: ChangeOptions): Promise<StoredUsageEvent | null> {
    assertMeters(this.work);
    const changed = await this.#events.change(id, options, `usage-event.${to.status}`, async ({ version: _, ...event }) => {
      if (event.tenantId !== shortTenantId(tenantId)) throw errors.notFound("usageEvent", id);
      return await correctionOf(this.work, event as UsageEvent, to);
    }, { ...to });
    if (changed) await this.#settle(changed);
    return changed;
  }

  /** A correction can move the percentage of the month up or down. */
  async #settle({ tenantId, metric }: StoredUsageEvent): Promise<void> {
    const period = periodOf(this.work.context.clock.now());
    await new Meter(this.work).settleAfter(placeOf(tenantId, await metricOf(this.work, metric), period));
  }
}

/** The outcome, or the error of a request of one event. `paths`: where its members are in another form of the request. */
function thrown(outcome: Outcome, paths: Readonly<Record<string, string>> = {}): Exclude<Outcome, { status: "rejected" }> {
  if (outcome.status !== "rejected") return outcome;
  const { path, message, code } = outcome.error;
  if (code === "not_found" || code === "payload_too_large") throw new InnkeepError(code, message);
  const error: FieldError = { path: paths[path] ?? path, message, code };
  throw code === "idempotency_mismatch"
    ? new InnkeepError(code, "Another event was received with this source and id. Use a new id for a new event.", [error])
    : errors.validation([error]);
}
