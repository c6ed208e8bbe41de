import type { z } from "zod";
import { assertSegment, isTimestamp, splitKey } from "./key.ts";
import { errors } from "../kernel/errors.ts";

/** Parameters of a key template: `usage:{tenantId}:{metric}` has `tenantId` and `metric`. */
type Params<K extends string> = K extends `${string}{${infer P}}${infer Rest}` ? P | Params<Rest> : never;
/** Those that are fields of the record: `{~nonce}` is free, `{tenantId?}` may be absent. */
type FieldParam<P extends string> = P extends `~${string}` ? never : P extends `${infer N}?` ? N : P;
/** The declared fields: the record's own type is open, and would take any name. */
type FieldOf<S extends z.ZodObject> = keyof S["shape"] & string;
/** Those a list can be filtered or sorted by: texts, times, numbers, booleans. */
type ScalarFieldOf<S extends z.ZodObject> = {
  [F in FieldOf<S>]: z.output<S["shape"][F]> extends string | number | boolean | null | undefined ? F : never;
}[FieldOf<S>];
type MissingParam<K extends string, S extends z.ZodObject> = Exclude<FieldParam<Params<K>>, FieldOf<S>>;

/** What happens to a record when its tenant is deleted. */
export type OnTenantDelete = "delete" | "retain";

/** The declaration of an entity, from which keys, cascade, retention, lists and documentation are derived. */
export interface Entity<S extends z.ZodObject = z.ZodObject, K extends string = string> {
  /** kebab-case, singular. */
  readonly name: string;
  readonly summary: string;
  /** Key template: literal segments and `{field}` parameters. */
  readonly key: K;
  /** The stored form. Loose, so that fields written by a newer version survive an update. */
  readonly schema: S;
  /** `self`: the record is the tenant; `tenant`: the tenant in `tenantId`, or the platform without one; `platform`. */
  readonly owner: "platform" | "tenant" | "self";
  readonly onTenantDelete?: OnTenantDelete | ((record: z.output<S>) => OnTenantDelete);
  /** Default retention in days after the instant in the field `after`. */
  readonly retention?: { readonly days: number; readonly after: FieldOf<S> };
  readonly filterable?: readonly ScalarFieldOf<S>[];
  readonly sortable?: readonly ScalarFieldOf<S>[];
  /** The default order of its lists, such as `price` or `-createdAt`. If omitted: newest first. */
  readonly defaultSort?: ScalarFieldOf<S> | `-${ScalarFieldOf<S>}`;
  /** Fields of the case- and accent-insensitive substring search. */
  readonly searchable?: readonly FieldOf<S>[];
  /** B-trees over (these, key), at most four fields: equality fields first, then the sort field; `@tenantId` is the owning tenant. */
  readonly indexes?: readonly (readonly (ScalarFieldOf<S> | "@tenantId")[])[];
  /** Counts (and one exact sum) kept by a trigger in the writing transaction. Such records cannot expire. */
  readonly rollup?: { readonly groupBy: readonly ScalarFieldOf<S>[]; readonly sum?: ScalarFieldOf<S> };
  /** Its records may be written with an `expiresAt`. */
  readonly expires?: boolean;
  /** Fields that are redacted in logs, audit entries, exports and the kv view. */
  readonly secrets?: readonly FieldOf<S>[];
  /** Tenants may read the platform's records of this entity. */
  readonly readableByTenants?: boolean;
  /** For counters: a lower fill factor, so that updates stay on their page. */
  readonly frequentUpdates?: boolean;
  /** Entries are hash-chained by tenant, never changed, and deleted only by retention. */
  readonly appendOnly?: boolean;
  /** Whether a tenant's export contains it. */
  readonly exported?: boolean;
  /** The record's `id` is its full key. */
  readonly naturalKey?: boolean;
  readonly example: z.input<S>;
}

// deno-lint-ignore no-explicit-any -- an entity's schema is invariant; heterogeneous lists need the top type
export type AnyEntity = Entity<any, string>;
export type RecordOf<E> = E extends { readonly schema: infer S extends z.ZodObject } ? z.output<S> : never;
export type KeyParamsOf<E> = E extends { readonly key: infer K extends string } ?
    & { readonly [P in Params<K> as P extends `~${infer N}` ? N : P extends `${string}?` ? never : P]: string }
    & { readonly [P in Params<K> as P extends `${infer N}?` ? N : never]?: string | undefined }
  : never;

/** Declares an entity. A key parameter or field that the schema does not have does not compile. */
export function defineEntity<const S extends z.ZodObject, const K extends string, const X extends boolean = false>(
  entity:
    & Entity<S, K>
    & { readonly expires?: X }
    & (MissingParam<K, S> extends never ? unknown : { key: `the schema lacks ${MissingParam<K, S>}` })
    // A rollup would still count expired records.
    & ({ readonly rollup?: undefined } | { readonly expires?: false }),
): Entity<S, K> & { readonly expires?: X } {
  declared.add(entity);
  return entity;
}

const declared = new WeakSet<object>();

export function isEntity(value: unknown): value is AnyEntity {
  return typeof value === "object" && value !== null && declared.has(value);
}

interface TemplateSegment {
  readonly literal?: string;
  readonly param?: string;
  readonly optional?: boolean;
}

const templates = new Map<string, readonly TemplateSegment[]>();

function templateOf(key: string): readonly TemplateSegment[] {
  let template = templates.get(key);
  if (!template) {
    template = key.split(":").map((part) => {
      const match = /^\{~?(\w+)(\?)?\}$/.exec(part);
      return match?.[1] ? { param: match[1], optional: match[2] === "?" } : { literal: part };
    });
    templates.set(key, template);
  }
  return template;
}

/** First segment of the entity's keys: what a prefix list starts from. */
export function familyOf(entity: AnyEntity): string {
  return templateOf(entity.key)[0]?.literal ?? "";
}

/** The parameters of the entity's keys, in their order. */
export function keyParams(entity: AnyEntity): string[] {
  return templateOf(entity.key).flatMap(({ param }) => param === undefined ? [] : [param]);
}

/** Builds the key of a record. Every parameter is one segment; anything else is `invalid_key` naming it. */
export function keyOf<E extends AnyEntity>(entity: E, params: KeyParamsOf<E>): string {
  const values: Readonly<Record<string, string | undefined>> = params;
  const parts: string[] = [];
  for (const { literal, param = "", optional } of templateOf(entity.key)) {
    const value = literal ?? values[param];
    if (value === undefined && optional) continue;
    if (literal === undefined) assertSegment(value ?? "", param);
    parts.push(value ?? "");
  }
  const key = parts.join(":");
  if (key.length > 512) throw errors.invalidKey("must be at most 512 bytes");
  return key;
}

/** The parameters of a key of this entity, or null when the key is not of its pattern. */
export function matchKey(entity: AnyEntity, key: string): Readonly<Record<string, string>> | null {
  const segments = splitKey(key);
  const template = templateOf(entity.key);
  const missing = template.length - segments.length;
  if (missing < 0 || missing > template.filter((t) => t.optional).length) return null;
  const expected = missing > 0 ? template.filter((t) => !t.optional) : template;
  const params: Record<string, string> = {};
  for (const [i, part] of expected.entries()) {
    const segment = segments[i] ?? "";
    if (part.literal !== undefined ? part.literal !== segment : isTimestamp(segment) !== isTimeParam(part.param)) return null;
    if (part.param) params[part.param] = segment;
  }
  return params;
}

function isTimeParam(param: string | undefined): boolean {
  return param === "timestamp";
}

/** The full key for a short id or a full key of an entity whose key is `<family>:{id}` (or another one parameter). */
export function keyFromId(entity: AnyEntity, id: string): string {
  return id.startsWith(`${familyOf(entity)}:`) ? id : `${familyOf(entity)}:${id}`;
}

export function ownerOf(entity: AnyEntity, record: Readonly<Record<string, unknown>>): string | null {
  if (entity.owner === "platform") return null;
  const owner = entity.owner === "self" ? record["id"] : record["tenantId"];
  return typeof owner === "string" ? owner : null;
}

export function cascadesOf(entity: AnyEntity, record: Readonly<Record<string, unknown>>): boolean {
  const rule = typeof entity.onTenantDelete === "function" ? entity.onTenantDelete(record) : entity.onTenantDelete ?? "delete";
  return rule === "delete";
}
