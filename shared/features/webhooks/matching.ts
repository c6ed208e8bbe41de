import { keyOf } from "../../kv/define.ts";
import { isoTime } from "../../kernel/clock.ts";
import { matches } from "../events/patterns.ts";
import { type Delivery, delivery, type Webhook } from "./entity.ts";

/** Whether an event of this type is sent to a webhook with these patterns. */
export function isSubscribed(webhook: Pick<Webhook, "events" | "withheld">, type: string): boolean {
  return webhook.events.some((pattern) => matches(pattern, type)) && !isWithheld(webhook, type);
}

/** Whether the receiver must not get events of this type, also those that had a delivery before its URL was set. */
export function isWithheld({ withheld = [] }: Pick<Webhook, "withheld">, type: string): boolean {
  return withheld.some((pattern) => matches(pattern, type));
}

/** Whether a webhook gets an event. Events about a webhook are not sent to the webhook itself. */
export function receives(
  webhook: Pick<Webhook, "id" | "events" | "withheld">,
  event: { readonly type: string; readonly subject: string },
): boolean {
  return event.subject !== webhook.id && isSubscribed(webhook, event.type);
}

/** What a delivery repeats of its event. */
export interface DeliveredEvent {
  /** `evt_<unix milliseconds>_<nonce>`. */
  readonly id: string;
  readonly type: string;
  readonly seq: number;
}

/** A new delivery, which is due now. Its id is made from the event's, so an event has one delivery for each webhook. */
export function newDelivery({ id: webhookId, tenantId }: Pick<Webhook, "id" | "tenantId">, event: DeliveredEvent, now: string): Delivery {
  return {
    ...placeOf(event.id),
    webhookId,
    ...(tenantId === undefined ? {} : { tenantId }),
    eventId: event.id,
    event: event.type,
    seq: event.seq,
    status: "pending",
    attemptCount: 0,
    attempts: [],
    nextRetryAt: now,
    round: 0,
    replays: 0,
    createdAt: now,
  };
}

/** The key of a delivery from its short id or that of its event; null for another text. A full key is accepted too. */
export function deliveryKey(webhookId: string, id: string): string | null {
  const prefix = `delivery:${webhookId}:`;
  if (id.startsWith(prefix)) return id;
  return /^(delivery|evt)_\d{1,14}_[0-9a-z]{1,64}$/.test(id) ? keyOf(delivery, { webhookId, ...placeOf(id) }) : null;
}

/** The instant and the random part of an event's id, and the id of its deliveries. */
function placeOf(eventId: string): Pick<Delivery, "id" | "timestamp" | "nonce"> {
  const [, ms = "", nonce = ""] = eventId.split("_");
  return { id: `delivery_${ms}_${nonce}`, timestamp: isoTime(Number(ms)), nonce };
}
