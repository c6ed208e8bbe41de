import { z } from "zod";
import { ERROR_KINDS } from "../kernel/errors.ts";
import { type AnyEntity, type RecordOf, secretsOf } from "../kv/define.ts";
import type { Stored } from "./collection.ts";
import type { Page } from "./paging.ts";

interface Component {
  readonly id: string;
  /** Returns an example body. Called when the OpenAPI file is built. */
  readonly example?: (() => unknown) | undefined;
}

/** The schemas the OpenAPI file shows under a name. */
export const components = new Map<z.ZodType, Component>();

export function component<S extends z.ZodType>(id: string, schema: S, example?: () => unknown): S {
  components.set(schema, { id, example });
  return schema;
}

/** An example body of the schema: its component's, else the first of its own `examples`. */
export function exampleOf(schema: z.ZodType): unknown {
  return components.get(schema)?.example?.() ?? (z.globalRegistry.get(schema)?.examples as readonly unknown[] | undefined)?.[0];
}

/** The store's versionstamp, the same as in the ETag. */
const version = z.string().meta({ description: "The record's version, as in the ETag." });

const records = new WeakMap<AnyEntity, z.ZodType>();
const pages = new WeakMap<AnyEntity, z.ZodType>();

/** The response schema of a record: with its version, without its secrets. Closed, so that misspelling a field is a compile error. */
export function recordOf<E extends AnyEntity>(entity: E): z.ZodType<Stored<E>> {
  let schema = records.get(entity);
  if (!schema) {
    const shown = z.object({ ...shownShape(entity), version }).meta({ description: entity.summary });
    records.set(entity, schema = component(pascalCase(entity.name), shown, () => exampleRecord(entity)));
  }
  return schema as z.ZodType<Stored<E>>;
}

/** The response schema of a record with computed fields. The version is null for a record that does not exist yet. */
export function viewOf<E extends AnyEntity, S extends z.ZodRawShape>(
  entity: E,
  computed: S,
): z.ZodType<RecordOf<E> & z.output<z.ZodObject<S>>> {
  const shown = z.object({ ...shownShape(entity), version: version.nullable(), ...computed }).meta({ description: entity.summary });
  return component(pascalCase(entity.name), shown, () => ({ ...exampleRecord(entity), ...examplesOf(computed) })) as never;
}

/** The fields of a record without its secrets. */
function shownShape(entity: AnyEntity): Record<string, z.ZodType> {
  const hidden = secretsOf(entity);
  const shape = entity.schema.shape as Readonly<Record<string, z.ZodType>>;
  return Object.fromEntries(Object.entries(shape).filter(([name]) => !hidden.includes(name)));
}

/** The entity's example as a response shows it. */
function exampleRecord(entity: AnyEntity): Record<string, unknown> {
  const hidden = secretsOf(entity);
  const stored = Object.entries(entity.schema.parse(entity.example) as object).filter(([name]) => !hidden.includes(name));
  return { ...Object.fromEntries(stored), version: "42" };
}

function examplesOf(shape: z.ZodRawShape): Record<string, unknown> {
  return Object.fromEntries(Object.entries(shape).map(([name, schema]) => [name, exampleOf(schema as z.ZodType)]));
}

export const pagination = component(
  "Pagination",
  z.object({
    limit: z.int().meta({ description: "The maximum number of records per page." }),
    hasNext: z.boolean(),
    nextCursor: z.string().optional().meta({ description: "The cursor of the next page. Absent on the last page." }),
    page: z.int().optional().meta({
      description: "The number of this page, from 1. Absent, like the totals, when the page was read by cursor.",
    }),
    total: z.int().optional().meta({ description: "The number of records on all pages." }),
    totalPages: z.int().optional().meta({ description: "The number of pages with this limit." }),
    hasPrev: z.boolean().optional(),
  }),
);

const ONE_PAGE = { page: 1, limit: 20, total: 1, totalPages: 1, hasPrev: false, hasNext: false };

export function pageOf<E extends AnyEntity>(entity: E): z.ZodType<Page<Stored<E>>> {
  let schema = pages.get(entity);
  if (!schema) {
    const shown = z.object({ data: z.array(recordOf(entity)), pagination });
    schema = component(`${pascalCase(entity.name)}Page`, shown, () => ({ data: [exampleRecord(entity)], pagination: ONE_PAGE }));
    pages.set(entity, schema);
  }
  return schema as z.ZodType<Page<Stored<E>>>;
}

/** The schema of a page of records with computed fields. */
export function pageOfViews<V extends z.ZodType>(id: string, view: V) {
  return component(id, z.object({ data: z.array(view), pagination }), () => ({ data: [exampleOf(view)], pagination: ONE_PAGE }));
}

const fieldError = component(
  "FieldError",
  z.object({
    path: z.string().meta({ description: "A JSON Pointer (RFC 6901) into the body, or the name of the parameter." }),
    message: z.string().meta({ description: "What is wrong, for people." }),
    code: z.string().meta({ description: "The kind of error, for programs." }),
  }),
);

/** RFC 9457, with the members that some codes add. */
export const problem = component(
  "Problem",
  z.object({
    type: z.string().meta({ description: "`urn:innkeep:error:` followed by the code." }),
    title: z.string(),
    status: z.int().min(400).max(599).meta({ description: "The HTTP status of the response." }),
    detail: z.string().meta({ description: "What is wrong and what to do, for people." }),
    instance: z.string().meta({ description: "The path of the request." }),
    code: z.enum(Object.keys(ERROR_KINDS) as [keyof typeof ERROR_KINDS]),
    requestId: z.string().meta({ description: "The id of the request, as in `X-Request-Id` and in the log." }),
    errors: z.array(fieldError).optional().meta({ description: "Every invalid field of the request." }),
    currentVersion: z.string().nullable().optional().meta({
      description: "With `precondition_failed`: the current version; null if the record does not exist.",
    }),
    retryAfterSeconds: z.int().optional().meta({
      description: "With `rate_limited` and `maintenance`: the seconds to wait, as in Retry-After.",
    }),
    requiredScope: z.string().optional().meta({ description: "With `insufficient_scope`: the scope that the route requires." }),
    limit: z.number().optional().meta({ description: "With `payload_too_large`: the limit, in the unit that `detail` names." }),
    key: z.string().optional().meta({ description: "On OFREP routes: the key of the flag, if the path has one." }),
    errorCode: z.string().optional().meta({ description: "On OFREP routes: the error code of OpenFeature." }),
    errorDetails: z.string().optional().meta({ description: "On OFREP routes: the same text as `detail`." }),
    from: z.string().optional().meta({ description: "With `invalid_transition`: the current state." }),
    to: z.string().optional().meta({ description: "With `invalid_transition`: the requested state." }),
    allowed: z.array(z.string()).optional().meta({ description: "With `invalid_transition`: the states that the current state allows." }),
    allow: z.array(z.string()).optional().meta({ description: "With `method_not_allowed`: the methods of the path." }),
    remaining: z.int().optional().meta({
      description: "With `credit_exceeds_invoice`: what is left to credit, in the minor unit of the invoice's currency.",
    }),
    tenants: z.int().optional().meta({ description: "With `plan_in_use`: the number of tenants that use the plan." }),
    subscriptions: z.int().optional().meta({ description: "With `plan_in_use`: the number of subscriptions that use the plan." }),
  }),
);

function pascalCase(name: string): string {
  return name.replaceAll(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
}
