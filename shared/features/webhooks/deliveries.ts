import { Collection, type Stored } from "../../core/collection.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { mayRead } from "../events/patterns.ts";
import { type EventView, eventView, isNumbered, thinView } from "../events/view.ts";
import { type Delivery, delivery, type Webhook } from "./entity.ts";
import { deliveryKey } from "./matching.ts";
import { assertEnabled, isWaiting, replayed, wake } from "./replays.ts";

export type StoredDelivery = Stored<typeof delivery>;
/** A delivery with its body. It is absent when the event has been deleted, and for a caller that must not read the event. */
export type DeliveryView = StoredDelivery & { readonly payload?: EventView };

/** Reads and replays the deliveries of one webhook. */
export class Deliveries {
  readonly #deliveries: Collection<typeof delivery>;

  constructor(private readonly work: UnitOfWork, private readonly webhook: Webhook) {
    this.#deliveries = new Collection(delivery, work.store);
  }

  async list(filters: Filters, sort?: Sort, pagination?: Pagination): Promise<Page<StoredDelivery>> {
    const { where = [], ...selection } = selectionOf(delivery, filters);
    const own = { field: "webhookId", in: [this.webhook.id] };
    const { data, ...page } = await listPage(this.#deliveries, { ...selection, where: [own, ...where], sort, pagination });
    return { ...page, data: data.map((each) => this.#shown(each)) };
  }

  /** By its id or that of its event. Null if there is none. */
  async get(id: string): Promise<DeliveryView | null> {
    const found = await this.#read(id);
    if (!found) return null;
    const event = await new Collection(outboxEvent, this.work.store).get(found.eventId);
    if (!event || !isNumbered(event) || !mayRead(this.work.context.scopes, found.event)) return this.#shown(found);
    return { ...this.#shown(found), payload: this.webhook.payload === "thin" ? thinView(event) : eventView(event) };
  }

  /**
   * Sends it again, now and with the whole schedule of attempts. One that is due already stays as it is. Null if there is none.
   * Throws `invalid_transition` for a disabled webhook, `not_found` if the event has been deleted.
   */
  async replay(id: string, options: ChangeOptions): Promise<StoredDelivery | null> {
    assertEnabled(this.webhook);
    const { id: webhookId, tenantId } = this.webhook;
    const { idempotencyKey: key } = options;
    const call = key === undefined ? undefined : { operation: "delivery.replayed", key, request: { webhookId, id } };
    const { result, version } = await this.work.transact<{ readonly record: Delivery | StoredDelivery | null }>(async () => {
      const before = await this.#read(id);
      if (!before) return { done: { record: null }, isFailure: true };
      assertMatch(before.version, options);
      const now = this.work.now();
      if (before.status === "pending" && !isWaiting(before, now)) return { done: { record: before }, resultOf: tenantId ?? null };
      const { eventId } = before;
      if (!await new Collection(outboxEvent, this.work.store).get(eventId)) throw errors.notFound("event", eventId);
      const { version: _, ...record } = replayed(before, now);
      const note = { action: "delivery.replayed", resource: delivery.name, resourceId: before.id, tenantId, data: { webhookId, eventId } };
      const changes: Change[] = [{ entity: delivery, before, after: record }];
      return { commit: { changes, mutations: [wake(webhookId, now)], audit: [note], result: { record } }, resultOf: tenantId ?? null };
    }, ...(call ? [call] : []));
    const { record } = result;
    return record && this.#shown((version === null ? record : { ...record, version }) as StoredDelivery);
  }

  async #read(id: string): Promise<StoredDelivery | null> {
    const key = deliveryKey(this.webhook.id, id);
    const [found = null] = key === null ? [] : await this.#deliveries.getMany([key]);
    return found;
  }

  /** What the receiver responded is for those who may change the webhook: it could contain anything. */
  #shown(record: StoredDelivery): StoredDelivery {
    const { scopes } = this.work.context;
    if (!scopes || scopes.has("write:webhooks")) return record;
    const { responseBody: _, ...rest } = record;
    return rest as unknown as StoredDelivery;
  }
}
