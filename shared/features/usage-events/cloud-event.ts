import { z } from "zod";
import { quantity, QUANTITY_DECIMALS } from "../../core/values.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { FieldError } from "../../kernel/errors.ts";
import { fieldErrors } from "../../kernel/field-errors.ts";
import { findForbiddenName, findUnstorable } from "../../kernel/json.ts";
import { isTimestamp } from "../../kv/key.ts";
import { METRIC_UNIT } from "../usage/entity.ts";

/** The maximum number of events in one request. */
export const MAX_EVENTS = 1_000;
/** The maximum size of a dimension's value in UTF-8: the groups of a month must fit into one record. */
const MAX_VALUE_BYTES = 128;

const CONTROL = /[\p{Cc}\p{Cs}\p{Cn}]/u;
/** The characters of RFC 3986, and complete percent-encodings. */
const URI_REFERENCE = /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/;
/** RFC 3339 §5.6. `T` and `Z` may be lower case. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,12})?(?:[Zz]|[+-]\d{2}:\d{2})$/;
const ATTRIBUTE_NAME = /^[a-z0-9]+$/;
const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;

const text = (max: number) => z.string().min(1).max(max).refine((given) => !CONTROL.test(given), "must have no control characters");

/** The instant of an RFC 3339 time in milliseconds, further digits cut. NaN if it is not valid, such as 30 February. */
export function rfc3339Ms(time: string): number {
  if (!RFC_3339.test(time)) return NaN;
  const upper = time.toUpperCase();
  const [, day = "", clock = "", fraction = "", offset = ""] = /^(.{10})T(.{8})(?:\.(\d+))?(.+)$/.exec(upper) ?? [];
  const local = Date.parse(`${day}T${clock}.${fraction.slice(0, 3).padEnd(3, "0")}Z`);
  // Date.parse takes 30 February for 2 March.
  if (Number.isNaN(local) || new Date(local).toISOString().slice(0, 10) !== day) return NaN;
  const [, sign = "+", hours = "00", minutes = "00"] = /^([+-])(\d{2}):(\d{2})$/.exec(offset) ?? [];
  if (Number(hours) > 23 || Number(minutes) > 59) return NaN;
  const epochMs = local - (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  return isTimestamp(new Date(epochMs).toISOString()) ? epochMs : NaN;
}

const time = z.string().refine((given) => !Number.isNaN(rfc3339Ms(given)), "must be an RFC 3339 time, such as 2026-11-01T09:30:00Z")
  .transform((given) => isoTime(rfc3339Ms(given)))
  .meta({ format: "date-time" });

const dimensionValue = text(MAX_VALUE_BYTES)
  .refine((value) => new TextEncoder().encode(value).length <= MAX_VALUE_BYTES, `must be at most ${MAX_VALUE_BYTES} bytes in UTF-8`);

/** The members of an event's data, which the route for single events takes too. */
export const measured = {
  amount: quantity(1e12).optional().meta({
    description: `In ${METRIC_UNIT}, with at most ${QUANTITY_DECIMALS} decimals. Default for a counter: 1. A gauge is set to it.`,
  }),
  dimensions: z.record(z.string(), dimensionValue).optional().meta({
    description: "The values of the metric's dimensions. A dimension may be omitted.",
    examples: [{ endpoint: "/v1/rooms" }],
  }),
  userId: text(200).optional().meta({ description: "Who used it, as your program names the user." }),
  properties: z.record(z.string().max(100), z.json()).optional().meta({ description: "Any further data. It is stored with the event." }),
};

/** The attributes of CloudEvents 1.0 (§3.1). */
const attributes = z.object({
  specversion: z.literal("1.0"),
  id: text(256).meta({ description: "Unique among the events of its source." }),
  source: z.string().min(1).max(512).regex(URI_REFERENCE, "must be a URI reference").meta({
    format: "uri-reference",
    description: "What produced the event.",
  }),
  type: text(128).meta({ description: "The id of a metric." }),
  subject: text(160).transform((id) => id.replace(/^tenant:/, "")).meta({ description: "The id of a tenant." }),
  time: time.optional().meta({ description: "When the usage happened. Default: when the event is received." }),
  datacontenttype: z.string().regex(JSON_TYPE, "must be a JSON media type; `data` must be JSON").optional(),
  dataschema: z.string().min(1).max(512).regex(URI_REFERENCE, "must be a URI").optional(),
  data: z.strictObject(measured).default({}),
  data_base64: z.never().optional().meta({ description: "Not accepted. Send JSON in `data`." }),
});

const extension = z.union([z.string().max(2_048), z.boolean(), z.int()]).meta({ description: "An extension attribute. It is not stored." });

export const cloudEvent = attributes.catchall(extension).check(({ value, issues }) => {
  const keys = Object.keys(value).filter((name) => !ATTRIBUTE_NAME.test(name) && !Object.hasOwn(attributes.shape, name));
  if (keys.length > 0) issues.push({ code: "unrecognized_keys", keys, input: value });
});

/** The source of the events of the route that takes one count. */
export const TRACK_SOURCE = "urn:innkeep:track";

/** One count, with the names that metering clients use. */
export const eventTrack = z.strictObject({
  meter_id: text(128).meta({ description: "The id of a metric." }),
  user_id: measured.userId,
  event_value: measured.amount,
  properties: measured.properties,
  dimensions: measured.dimensions,
  event_id: text(256).optional().meta({ description: "Sent again, the event counts once. Default: a new id." }),
  timestamp: time.optional().meta({ description: "When the usage happened. Default: now." }),
});

/** The event of a count. */
export function trackedEvent(tenantId: string, id: string, input: z.output<typeof eventTrack>): ReceivedEvent {
  const { meter_id: type, user_id: userId, event_value: amount, properties, dimensions, timestamp } = input;
  const data = { amount, dimensions, userId, properties };
  const given = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== undefined)) as ReceivedEvent["data"];
  return { id, source: TRACK_SOURCE, type, subject: tenantId, ...(timestamp === undefined ? {} : { time: timestamp }), data: given };
}

type Parsed = z.output<typeof cloudEvent>;
/** A valid event, without the attributes that are not stored. */
export type ReceivedEvent = Pick<Parsed, "id" | "source" | "type" | "subject" | "time" | "data">;

/** An event of a request: valid, or why not, with its id and source if they can be told. */
export type Item =
  | { readonly event: ReceivedEvent }
  | { readonly id: string | null; readonly source: string | null; readonly error: FieldError };

/** The events of one request. A single event is an error of the request if it is not valid; in a batch it is an error of the item. */
export interface EventBatch {
  readonly single: boolean;
  readonly items: readonly Item[];
}

/** Reads one item of a batch. What cannot be stored is found first, because a schema must not walk it. */
export function readItem(given: unknown): Item {
  const fault = findUnstorable(given) ?? findForbiddenName(given);
  const parsed = fault ? null : cloudEvent.safeParse(withoutNulls(given));
  if (parsed?.success) return { event: received(parsed.data) };
  const [error = { path: "", message: "is not valid", code: "invalid" }] = fault ? [fault] : fieldErrors(parsed?.error?.issues ?? []);
  const { id, source } = typeof given === "object" && given !== null ? given as Readonly<Record<string, unknown>> : {};
  return { id: shown(id), source: shown(source), error };
}

/** One event, or a list of up to 1,000. */
export const eventsBody = z.unknown().transform((given, context): EventBatch => {
  if (!Array.isArray(given)) {
    const parsed = cloudEvent.safeParse(withoutNulls(given));
    if (parsed.success) return { single: true, items: [{ event: received(parsed.data) }] };
    context.issues.push(...parsed.error.issues as never[]);
    return z.NEVER;
  }
  if (given.length > 0 && given.length <= MAX_EVENTS) return { single: false, items: given.map(readItem) };
  const message = given.length === 0 ? "must have at least one event" : `must have at most ${MAX_EVENTS} events; send several requests`;
  context.issues.push({ code: "custom", input: given, message, params: { code: given.length === 0 ? "too_small" : "too_big" } });
  return z.NEVER;
});

/** The body as the OpenAPI file shows it. */
export const eventsShown = z.union([cloudEvent, z.array(cloudEvent).min(1).max(MAX_EVENTS)]).meta({
  description: "One event, or a batch.",
});

function received({ id, source, type, subject, time, data }: Parsed): ReceivedEvent {
  return { id, source, type, subject, ...(time === undefined ? {} : { time }), data };
}

/** In the JSON format, an attribute that is null is absent (CloudEvents JSON Event Format 1.0 §2.2). */
function withoutNulls(given: unknown): unknown {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given;
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
}

/** An id or source of an invalid item, so that the caller can find it. */
function shown(value: unknown): string | null {
  return typeof value === "string" && value.length <= 512 ? value.toWellFormed().replaceAll("\u0000", "?") : null;
}
