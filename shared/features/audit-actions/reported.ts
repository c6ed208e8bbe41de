import { z } from "zod";
import { segment } from "../../core/values.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { FieldError } from "../../kernel/errors.ts";
import { fieldErrors } from "../../kernel/field-errors.ts";
import { findForbiddenName, findUnstorable } from "../../kernel/json.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { rfc3339Ms } from "../usage-events/cloud-event.ts";

/** The maximum number of entries in one request. */
export const MAX_REPORTED = 500;
const MAX_DATA_BYTES = 16 * 1_024;

const text = (max: number) => z.string().min(1).max(max);
const time = z.string().refine((given) => !Number.isNaN(rfc3339Ms(given)), "must be an RFC 3339 time, such as 2026-11-01T09:30:00Z")
  .transform((given) => isoTime(rfc3339Ms(given)))
  .meta({ format: "date-time" });

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value)).length;

/** What another service reports as done. */
export const reportedEntry = z.strictObject({
  id: text(256).meta({ description: "Unique among the entries of its source. Sent again within 400 days, the entry is written once." }),
  source: text(256).meta({ description: "The service that reports it.", examples: ["door-service"] }),
  action: text(100).meta({ description: "A custom action, which begins with `app.`." }),
  resource: text(100).meta({ description: "The kind of thing that was acted on." }),
  resourceId: text(512),
  tenantId: z.string().transform(shortTenantId).pipe(segment).optional().meta({
    description: "The tenant in whose chain it is written. Default: the caller's tenant, else the platform.",
  }),
  time: time.optional().meta({ description: "When it happened, as the service knows it." }),
  actor: z.strictObject({ type: text(40), id: text(200) }).optional().meta({
    description: "Who did it, as the service knows it: an id, not a name or an email address. It is stored beside the caller.",
  }),
  data: z.record(z.string(), z.json()).optional()
    .refine((data) => data === undefined || bytesOf(data) <= MAX_DATA_BYTES, `must be at most ${MAX_DATA_BYTES / 1_024} KiB`)
    .meta({ description: "It must match the `dataSchema` of the action." }),
});

export type Reported = z.output<typeof reportedEntry>;

/** An entry of a request: valid, or why not, with its id and source if they can be told. */
export type Item =
  | { readonly entry: Reported }
  | { readonly id: string | null; readonly source: string | null; readonly error: FieldError };

/** The entries of one request. A single one is an error of the request if it is not valid. */
export interface Batch {
  readonly single: boolean;
  readonly items: readonly Item[];
}

/** One entry, or a list of up to 500. */
export const reportedBody = z.unknown().transform((given, context): Batch => {
  if (!Array.isArray(given)) {
    const parsed = reportedEntry.safeParse(given);
    if (parsed.success) return { single: true, items: [{ entry: parsed.data }] };
    context.issues.push(...parsed.error.issues as never[]);
    return z.NEVER;
  }
  if (given.length > 0 && given.length <= MAX_REPORTED) return { single: false, items: given.map(readItem) };
  const message = given.length === 0 ? "must have at least one entry" : `must have at most ${MAX_REPORTED} entries; send several requests`;
  context.issues.push({ code: "custom", input: given, message, params: { code: given.length === 0 ? "too_small" : "too_big" } });
  return z.NEVER;
});

/** The body as the OpenAPI file shows it. */
export const reportedShown = z.union([reportedEntry, z.array(reportedEntry).min(1).max(MAX_REPORTED)]).meta({
  description: "One entry, or a batch.",
});

/** What cannot be stored is found first, because a schema must not walk it. */
function readItem(given: unknown): Item {
  const fault = findUnstorable(given) ?? findForbiddenName(given);
  const parsed = fault ? null : reportedEntry.safeParse(given);
  if (parsed?.success) return { entry: parsed.data };
  const [error = { path: "", message: "is not valid", code: "invalid" }] = fault ? [fault] : fieldErrors(parsed?.error?.issues ?? []);
  const { id, source } = typeof given === "object" && given !== null ? given as Readonly<Record<string, unknown>> : {};
  return { id: shown(id), source: shown(source), error };
}

function shown(value: unknown): string | null {
  return typeof value === "string" && value.length <= 256 ? value.toWellFormed().replaceAll("\u0000", "?") : null;
}
