import type { z } from "zod";
import { assertSegment, isTimestamp, splitKey } from "./key.ts";
import { errors } from "../kernel/errors.ts";

/** Parameters of a key template: `usage:{tenantId}:{metric}` has `tenantId` and `metric`. */
type Params<K extends string> = K extends `${string}{${infer P}}${infer Rest}` ? P | Params<Rest> : never;
/** Parameters that must be fields of the record: all but `{~nonce}`. `{tenantId?}` is optional. */
type FieldParam<P extends string> = P extends `~${string}` ? never : P extends `${infer N}?` ? N : P;
/** The declared fields. The record type itself is open and would accept any name. */
type FieldOf<S extends z.ZodObject> = keyof S["shape"] & string;
/** Fields by which a list can be filtered or sorted: text, times, numbers, booleans. */
type ScalarFieldOf<S extends z.ZodObject> = {
  [F in FieldOf<S>]: z.output<S["shape"][F]> extends string | number | boolean | null | undefined ? F : never;
}[FieldOf<S>];
/** Fields with the stored form of an encrypted value, `sealed` of shared/core/sealed.ts. */
type SealedFieldOf<S extends z.ZodObject> = {
  [F in FieldOf<S>]: NonNullable<z.output<S["shape"][F]>> extends { keyId: string; wrappedKey: string; ciphertext: string } ? F : never;
}[FieldOf<S>];
type MissingParam<K extends string, S extends z.ZodObject> = Exclude<FieldParam<Params<K>>, FieldOf<S>>;

/** What happens to a record when its tenant is deleted. */
export type OnTenantDelete = "delete" | "retain";

/** The declaration of an entity. Keys, cascade, retention, lists and documentation are derived from it. */
export interface Entity<S extends z.ZodObject = z.ZodObject, K extends string = string> {
  /** Singular, in kebab-case. */
  readonly name: string;
  readonly summary: string;
  /** Key template: literal segments and `{field}` parameters. */
  readonly key: K;
  /** The schema of the stored record. Loose, so that an update keeps fields that a newer version wrote. */
  readonly schema: S;
  /** `self`: the record is a tenant. `tenant`: it belongs to the tenant in `tenantId`; without one, to the platform. */
  readonly owner: "platform" | "tenant" | "self";
  /** Whether the platform has records of it too. Their `tenantId` is `global`. */
  readonly platformToo?: boolean;
  readonly onTenantDelete?: OnTenantDelete | ((record: z.output<S>) => OnTenantDelete);
  /** On what ground a record is kept after the deletion of its tenant, for the certificate of the deletion. */
  readonly keptBecause?: string;
  /** Default retention in days after the instant in the field `after`, which gets an index. */
  readonly retention?: { readonly days: number; readonly after: FieldOf<S> };
  readonly filterable?: readonly ScalarFieldOf<S>[];
  readonly sortable?: readonly ScalarFieldOf<S>[];
  /** The default order of its lists, such as `price` or `-createdAt`. If omitted: newest first. */
  readonly defaultSort?: ScalarFieldOf<S> | `-${ScalarFieldOf<S>}`;
  /** Fields of the case- and accent-insensitive substring search. */
  readonly searchable?: readonly FieldOf<S>[];
  /** B-tree indexes on (fields, key), each of at most four: equality fields first, then the sort field. `@tenantId` is the row's tenant. */
  readonly indexes?: readonly (readonly (ScalarFieldOf<S> | "@tenantId")[])[];
  /** Counts (and one exact sum) that a trigger updates in the writing transaction. Such records cannot expire. */
  readonly rollup?: { readonly groupBy: readonly ScalarFieldOf<S>[]; readonly sum?: ScalarFieldOf<S> };
  /** Whether records may have an `expiresAt`. */
  readonly expires?: boolean;
  /** Fields that are redacted in logs, audit entries, exports and the kv view. */
  readonly secrets?: readonly FieldOf<S>[];
  /** Fields that the secret box encrypts. They are secrets, too. */
  readonly encrypted?: readonly SealedFieldOf<S>[];
  /**
   * Fields with personal data of a person. Audit entries hold them encrypted, so that they can be erased. `subjects` names the fields
   * with the person's user id or email address; without a value there, the data is that of the record.
   */
  readonly personal?: readonly FieldOf<S>[];
  readonly subjects?: { readonly userId?: FieldOf<S>; readonly email?: FieldOf<S> };
  /** Further fields with the id of a user. These and the `subjects` have an index each, which finds the records that name a person. */
  readonly userIds?: readonly ScalarFieldOf<S>[];
  /** Whether tenants may read the platform's records of this entity. */
  readonly readableByTenants?: boolean;
  /** For counters: a lower fillfactor, so that an updated row stays on its page. */
  readonly frequentUpdates?: boolean;
  /** Entries are hash-chained by tenant, never changed, and deleted only by retention. */
  readonly appendOnly?: boolean;
  /** Whether a tenant's export contains it. */
  readonly exported?: boolean;
  /** Whether the record's `id` is its full key. */
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

/** Declares an entity. A key parameter or field that is not in the schema is a compile error. */
export function defineEntity<const S extends z.ZodObject, const K extends string, const X extends boolean = false>(
  entity:
    & Entity<S, K>
    & { readonly expires?: X }
    & (MissingParam<K, S> extends never ? unknown : { key: `the schema lacks ${MissingParam<K, S>}` })
    // A rollup would count expired records until the sweep.
    & ({ readonly rollup?: undefined } | { readonly expires?: false }),
): Entity<S, K> & { readonly expires?: X } {
  declared.add(entity);
  return entity;
}

const declared = new WeakSet<object>();

/** Whether the value was declared with {@link defineEntity}. */
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

/** The fields with the id of a user, and those with the email address of a person. */
export function personFieldsOf({ subjects = {}, userIds = [] }: AnyEntity): { readonly userIds: string[]; readonly emails: string[] } {
  const names = (fields: readonly unknown[]) => fields.filter((field) => field !== undefined).map(String);
  return { userIds: names([subjects.userId, ...userIds]), emails: names([subjects.email]) };
}

/**
 * The fields of each index: the declared ones, one of the time field of retention, and one of each field that names a person. An entity
 * with frequent updates has none of the time: an index on a field that every update changes would prevent updates in place.
 */
export function indexesOf(entity: AnyEntity): readonly (readonly string[])[] {
  const indexes = (entity.indexes ?? []) as readonly (readonly string[])[];
  const time = entity.frequentUpdates ? undefined : entity.retention?.after as string | undefined;
  const { userIds, emails } = personFieldsOf(entity);
  const wanted = [...(time === undefined ? [] : [time]), ...userIds, ...emails];
  return [...indexes, ...wanted.filter((field) => !indexes.some(([first]) => first === field)).map((field) => [field])];
}

/** The fields that no output shows. */
export function secretsOf(entity: AnyEntity): readonly string[] {
  return [...entity.secrets ?? [], ...entity.encrypted ?? []] as readonly string[];
}

/** The first segment of the entity's keys. */
export function familyOf(entity: AnyEntity): string {
  return templateOf(entity.key)[0]?.literal ?? "";
}

/** The parameters of the entity's keys, in order. */
export function keyParams(entity: AnyEntity): string[] {
  return templateOf(entity.key).flatMap(({ param }) => param === undefined ? [] : [param]);
}

/** The key of a record. Every parameter must be one segment. Throws `invalid_key` with the name of the parameter. */
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

/** The parameters of a key, or null if the key does not match the entity's template. Throws `invalid_key`. */
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

/** The key of a record from its id or its key. Requires a template with one parameter, such as `<family>:{id}`. */
export function keyFromId(entity: AnyEntity, id: string): string {
  return id.startsWith(`${familyOf(entity)}:`) ? id : `${familyOf(entity)}:${id}`;
}

/** Stands for the platform in the place of a tenant's id, in keys of records that both have. */
export const GLOBAL = "global";

/** The id of the tenant that the record belongs to; null for the platform. */
export function tenantIdOf(entity: AnyEntity, record: Readonly<Record<string, unknown>>): string | null {
  if (entity.owner === "platform") return null;
  const tenantId = entity.owner === "self" ? record["id"] : record["tenantId"];
  return typeof tenantId === "string" && tenantId !== GLOBAL ? tenantId : null;
}

/** Whether the record is deleted with its tenant. */
export function cascadesOf(entity: AnyEntity, record: Readonly<Record<string, unknown>>): boolean {
  const rule = typeof entity.onTenantDelete === "function" ? entity.onTenantDelete(record) : entity.onTenantDelete ?? "delete";
  return rule === "delete";
}
