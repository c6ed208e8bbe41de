import { z } from "zod";
import type { OutboxEvent } from "../../core/outbox-event.ts";
import { component, exampleOf } from "../../core/schemas.ts";
import { instant, segment } from "../../core/values.ts";

/** An event as receivers get it: the same in deliveries, in polling and in the OpenAPI file. */
export const event = component(
  "Event",
  z.object({
    id: segment.meta({ description: "Constant over all deliveries of the event. Use it to detect repeats." }),
    type: z.string().meta({ description: "One of the types of `GET /v1/event-types`." }),
    timestamp: instant.meta({ description: "The instant of the change." }),
    tenantId: segment.optional().meta({ description: "The tenant that the event belongs to. Absent for an event of the platform." }),
    subject: z.string().meta({ description: "The id of the record that the event is about." }),
    seq: z.int().min(1).meta({
      description: "The number of the event. It increases over all events of the platform, so a tenant's events do not have every number.",
    }),
    version: z.string().meta({
      description: "The version of the record in `data`, a decimal number. It increases with each change of the record. " +
        "Ignore an event whose version is lower than one that you have applied to the same subject.",
    }),
    data: z.record(z.string(), z.json()).meta({
      description: "The record after the change, under the name of its kind, and what else the type declares. Empty in a thin delivery.",
    }),
  }).meta({ description: "An outgoing event." }),
  () => ({
    id: "evt_1767225600000_a1b2c3d4e5f6",
    type: "tenant.suspended",
    timestamp: "2026-01-01T00:00:00.000Z",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    subject: "tn_1767225600000_a1b2c3d4e5f6",
    seq: 1_200,
    version: "4711",
    data: { tenant: { id: "tn_1767225600000_a1b2c3d4e5f6", status: "suspended" } },
  }),
);

export type EventView = z.output<typeof event>;

/** A stored event that has its number. */
export type NumberedEvent = OutboxEvent & { readonly seq: number; readonly recordVersion: string };

export function isNumbered(record: OutboxEvent): record is NumberedEvent {
  return record.seq !== undefined && record.recordVersion !== undefined;
}

/** The public form of an event. */
export function eventView({ id, type, createdAt, tenantId, subject, seq, recordVersion, data }: NumberedEvent): EventView {
  return { id, type, timestamp: createdAt, ...(tenantId === undefined ? {} : { tenantId }), subject, seq, version: recordVersion, data };
}

/** The form without the record: `data` is empty, and a receiver that needs the record requests it. */
export function thinView(record: NumberedEvent): EventView {
  return { ...eventView(record), data: {} };
}

/** A page of events. There is always a cursor, because events can follow at any time. */
export const eventPage = component(
  "EventPage",
  z.object({
    data: z.array(event),
    nextCursor: z.string().meta({ description: "Send it as `after` to get the events that follow, also if `data` is empty." }),
    hasMore: z.boolean().meta({ description: "Whether to request the next page at once. `data` can be empty nevertheless." }),
  }),
  () => ({ data: [exampleOf(event)], nextCursor: "WyJldmVudHMiLCIyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMFoiLCIxMjAwIl0", hasMore: false }),
);
export type EventPage = z.output<typeof eventPage>;

const eventType = z.object({
  type: z.string(),
  description: z.string(),
  tenantScoped: z.boolean().meta({ description: "Whether events of this type can belong to a tenant. Others reach the platform alone." }),
  jsonSchema: z.record(z.string(), z.json()).meta({ description: "The JSON Schema, draft 2020-12, of a whole event of this type." }),
  examples: z.array(event),
});
export type EventTypeView = z.output<typeof eventType>;

export const eventTypeList = component(
  "EventTypeList",
  z.object({ data: z.array(eventType) }),
  () => ({
    data: [{
      type: "tenant.suspended",
      description: "A tenant was suspended.",
      tenantScoped: true,
      jsonSchema: { type: "object", properties: { type: { const: "tenant.suspended" } } },
      examples: [exampleOf(event)],
    }],
  }),
);
