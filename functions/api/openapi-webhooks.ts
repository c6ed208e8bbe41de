import { eventTypes } from "../../shared/features/events/catalogue.ts";
import { OMITTED, ownSchema, recordSchema, type References } from "../../shared/features/events/event-schemas.ts";
import { type EventType, exampleEvent } from "../../shared/features/events/event-type.ts";
import { event } from "../../shared/features/events/view.ts";
import { refTo } from "./openapi-components.ts";
import type { Json, Schemas } from "./openapi-schemas.ts";

const text = { type: "string" };

/** The headers of a delivery, as Standard Webhooks defines them. */
export const WEBHOOK_PARAMETERS = {
  WebhookId: {
    name: "webhook-id",
    in: "header",
    required: true,
    description: "The id of the event. It is the same in every attempt, so use it to detect repeats.",
    schema: text,
    example: "evt_1767225600000_a1b2c3d4e5f6",
  },
  WebhookTimestamp: {
    name: "webhook-timestamp",
    in: "header",
    required: true,
    description: "The time of the attempt in seconds since 1970. Refuse a delivery that is more than five minutes old.",
    schema: text,
    example: "1767225600",
  },
  WebhookSignature: {
    name: "webhook-signature",
    in: "header",
    required: true,
    description: "Signatures of id, timestamp and body, separated by spaces. Accept the delivery if one of them is valid.",
    schema: text,
    example: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
  },
};

const RESPONSES = {
  "2XX": { description: "The event was received. Any other status is a failure, and the delivery is tried again." },
  410: { description: "No more events are wanted: the webhook is disabled." },
};

/** One operation for each type of event: what Innkeep sends to a webhook, and what the receiver answers. */
export function webhooksOf(schemas: Schemas): { readonly webhooks: Json; readonly schemas: Json; readonly examples: Json } {
  const common = refTo("schemas", schemas.name("output", event, "Event"));
  const records: Json = { OmittedValue: OMITTED };
  const references: References = {
    omitted: refTo("schemas", "OmittedValue"),
    record: (entity) => {
      const name = `${pascal(entity.name)}Snapshot`;
      records[name] ??= recordSchema(entity, references.omitted);
      return refTo("schemas", name);
    },
  };
  const each = eventTypes.map((of) => ({ of, name: `${pascal(of.type)}Event` }));
  return {
    webhooks: Object.fromEntries(each.map(({ of, name }) => [of.type, { post: operationOf(of, name) }])),
    schemas: {
      ...Object.fromEntries(each.map(({ of, name }) => {
        return [name, { description: of.description, allOf: [common, ownSchema(of, references)] }];
      })),
      ...records,
    },
    examples: Object.fromEntries(each.map(({ of, name }) => [name, { value: exampleEvent(of) }])),
  };
}

function operationOf({ type, description }: EventType, name: string): Json {
  return {
    operationId: `on${pascal(type)}`,
    summary: type,
    description,
    tags: ["events"],
    security: [],
    parameters: Object.keys(WEBHOOK_PARAMETERS).map((parameter) => refTo("parameters", parameter)),
    requestBody: {
      required: true,
      content: { "application/json": { schema: refTo("schemas", name), examples: { [name]: refTo("examples", name) } } },
    },
    responses: RESPONSES,
  };
}

function pascal(name: string): string {
  return name.replaceAll(/(^|[-._])(\w)/g, (_, __, letter: string) => letter.toUpperCase());
}
