import type { z } from "zod";
import { errors, InnkeepError } from "../kernel/errors.ts";
import { fieldErrors, pointerOf } from "../kernel/field-errors.ts";
import { findUnstorable, isUnparsable } from "../kernel/json.ts";
import type { JsonObject } from "../kernel/json.ts";
import { cascadesOf, keyFromId, keyOf, matchKey, ownerOf } from "../kv/define.ts";
import type { AnyEntity, KeyParamsOf, RecordOf } from "../kv/define.ts";
import { isKey } from "../kv/key.ts";
import type { Entry, Mutation, Query, Store } from "../kv/store.ts";

/** A record as it is read: checked, defaults filled in, with its versionstamp. */
export type Stored<E> = RecordOf<E> & { readonly version: string };

/** One page of records. */
export interface RecordPage<E> {
  readonly records: Stored<E>[];
  readonly cursor: string | null;
  readonly total?: number;
}

/** An expiry, where the entity declares that its records may have one. */
export type ExpiryOf<E> = E extends { readonly expires?: infer X }
  ? true extends X ? { readonly expiresAt?: string } : { readonly expiresAt?: never }
  : never;

/** Typed reads and mutations of one declared entity over a store: parse on the way out, check on the way in. */
export class Collection<E extends AnyEntity> {
  constructor(readonly entity: E, protected readonly store: Store) {}

  key(params: KeyParamsOf<E>): string {
    return keyOf(this.entity, params);
  }

  /** By short id or full key; null when there is none or the id cannot be one. */
  async get(id: string): Promise<Stored<E> | null> {
    const key = keyFromId(this.entity, id);
    const entry = isKey(key) && matchKey(this.entity, key) ? await this.store.get(key) : null;
    return entry && this.read(entry);
  }

  /** By full keys, in the order asked, null where missing. */
  async getMany(keys: readonly string[]): Promise<(Stored<E> | null)[]> {
    return (await this.store.mget(keys)).map((entry) => entry && this.read(entry));
  }

  async list(query: Omit<Query, "entity">): Promise<RecordPage<E>> {
    const page = await this.store.query({ ...query, entity: this.entity });
    return {
      records: page.entries.map((entry) => this.read(entry)),
      cursor: page.cursor,
      ...(page.total === undefined ? {} : { total: page.total }),
    };
  }

  /** The caller's own record, whose nested values are frozen. A row that does not fit its declaration is a fault of ours: the error names key and places, never values. */
  read(entry: Entry): Stored<E> {
    const { entity: { schema }, store: { parsed: known } } = this;
    const found = known.find(entry, schema);
    if (found) return found as Stored<E>;
    const parsed = schema.safeParse(entry.value);
    if (parsed.success) return known.keep(entry, schema, { ...parsed.data, version: entry.version } as Stored<E>);
    const places = parsed.error.issues.map((issue: z.core.$ZodIssue) => pointerOf(issue.path) || "/").join(", ");
    throw new InnkeepError("internal", `The stored ${this.entity.name} ${entry.key} does not match its declaration at ${places}.`);
  }

  keyOfRecord(record: RecordOf<E>): string {
    const fields: Readonly<Record<string, unknown>> = record;
    return this.entity.naturalKey ? String(fields["id"]) : keyOf(this.entity, fields as unknown as KeyParamsOf<E>);
  }

  /** The mutation that stores a record. Throws `validation_failed` when it is against the schema. */
  set(record: RecordOf<E>, options?: ExpiryOf<E>): Extract<Mutation, { op: "set" }> {
    const { version, ...value } = record as RecordOf<E> & { readonly version?: string };
    const checked = parseInput(this.entity.schema, version === undefined ? record : value) as RecordOf<E>;
    return {
      op: "set",
      key: this.keyOfRecord(checked),
      value: checked as JsonObject,
      tenantId: ownerOf(this.entity, checked),
      cascades: cascadesOf(this.entity, checked),
      ...options,
    };
  }
}

/** Which schema a value came out of, so that what was checked at the edge is not checked again below it. */
const checkedBy = new WeakMap<object, z.ZodType>();

/** Checks an input against a schema, once, and that the store can hold it; every problem at once, each with its JSON Pointer. */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  if (isChecked(schema, input)) return input as z.output<S>;
  // First what no schema may walk into.
  const unstorable = findUnstorable(input);
  if (unstorable && isUnparsable(unstorable)) throw errors.validation([unstorable]);
  const parsed = schema.safeParse(input);
  if (parsed.success && !unstorable) return markChecked(schema, parsed.data);
  const problems = parsed.success ? [] : fieldErrors(parsed.error.issues);
  throw errors.validation(unstorable && !problems.some(({ path }) => path === unstorable.path) ? [unstorable, ...problems] : problems);
}

export function isChecked(schema: z.ZodType, value: unknown): boolean {
  return typeof value === "object" && value !== null && checkedBy.get(value) === schema;
}

/** Says that a value came out of a schema: for who has parsed it, or changed nothing that could break it. */
export function markChecked<T>(schema: z.ZodType, value: T): T {
  if (typeof value === "object" && value !== null) checkedBy.set(value, schema);
  return value;
}
