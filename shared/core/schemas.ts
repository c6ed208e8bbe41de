import { z } from "zod";
import { ERROR_KINDS } from "../kernel/errors.ts";
import type { AnyEntity, RecordOf } from "../kv/define.ts";
import type { Stored } from "./collection.ts";
import type { Page } from "./paging.ts";

/** The schemas the OpenAPI file shows as named components. */
export const components = new Map<z.ZodType, string>();

export function component<S extends z.ZodType>(id: string, schema: S): S {
  components.set(schema, id);
  return schema;
}

/** The store's versionstamp, the same as in the ETag. */
const version = z.string().meta({ description: "The record's version, as in the ETag." });

const records = new WeakMap<AnyEntity, z.ZodType>();
const pages = new WeakMap<AnyEntity, z.ZodType>();

/** A record as a response shows it: with its version, without its secrets. */
export function recordOf<E extends AnyEntity>(entity: E): z.ZodType<Stored<E>> {
  let schema = records.get(entity);
  if (!schema) {
    const hidden: readonly string[] = entity.secrets ?? [];
    const shape = entity.schema.shape as Readonly<Record<string, z.ZodType>>;
    const shown = z.looseObject({ ...Object.fromEntries(Object.entries(shape).filter(([name]) => !hidden.includes(name))), version });
    records.set(entity, schema = component(pascalCase(entity.name), shown));
  }
  return schema as z.ZodType<Stored<E>>;
}

/** A record with fields that are computed when it is read. */
export function viewOf<E extends AnyEntity, S extends z.ZodRawShape>(
  entity: E,
  computed: S,
): z.ZodType<RecordOf<E> & z.output<z.ZodObject<S>>> {
  return component(pascalCase(entity.name), (entity.schema as z.ZodObject).extend({ version: version.nullable(), ...computed })) as never;
}

export const pagination = component(
  "Pagination",
  z.object({
    limit: z.int(),
    hasNext: z.boolean(),
    nextCursor: z.string().optional(),
    page: z.int().optional(),
    total: z.int().optional(),
    totalPages: z.int().optional(),
    hasPrev: z.boolean().optional(),
  }),
);

export function pageOf<E extends AnyEntity>(entity: E): z.ZodType<Page<Stored<E>>> {
  let schema = pages.get(entity);
  if (!schema) {
    pages.set(entity, schema = component(`${pascalCase(entity.name)}Page`, z.object({ data: z.array(recordOf(entity)), pagination })));
  }
  return schema as z.ZodType<Page<Stored<E>>>;
}

export const problem = component(
  "Problem",
  z.looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(Object.keys(ERROR_KINDS) as [keyof typeof ERROR_KINDS]),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string(), code: z.string() })).optional(),
  }),
);

function pascalCase(name: string): string {
  return name.replaceAll(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
}
