import type { z } from "zod";
import { errors, InnkeepError, isInnkeepError } from "../kernel/errors.ts";
import { fieldErrors, pointerOf } from "../kernel/field-errors.ts";
import { findUnstorable, isUnparsable } from "../kernel/json.ts";
import type { JsonObject } from "../kernel/json.ts";
import { cascadesOf, keyFromId, keyOf, matchKey, tenantIdOf } from "../kv/define.ts";
import type { AnyEntity, KeyParamsOf, RecordOf } from "../kv/define.ts";
import { isKey } from "../kv/key.ts";
import type { Entry, Mutation, Query, Store } from "../kv/store.ts";

/** A record as it was read: parsed by its schema, with its versionstamp. */
export type Stored<E> = RecordOf<E> & { readonly version: string };

/** One page of records. */
export interface RecordPage<E> {
  readonly records: Stored<E>[];
  readonly cursor: string | null;
  readonly total?: number;
}

/** The option `expiresAt`, if the entity declares `expires`. */
export type ExpiryOf<E> = E extends { readonly expires?: infer X }
  ? true extends X ? { readonly expiresAt?: string } : { readonly expiresAt?: never }
  : never;

/** Typed reads and mutations of one declared entity. Its schema parses every record that is read or written. */
export class Collection<E extends AnyEntity> {
  constructor(readonly entity: E, protected readonly store: Store) {}

  key(params: KeyParamsOf<E>): string {
    return keyOf(this.entity, params);
  }

  /** By short id or full key. Null if there is no such record or the id is invalid. */
  async get(id: string): Promise<Stored<E> | null> {
    const key = keyFromId(this.entity, id);
    const entry = isKey(key) && matchKey(this.entity, key) ? await this.store.get(key) : null;
    return entry && this.read(entry);
  }

  /** By full keys, in their order; null for a missing record. */
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

  /**
   * A copy of the record, whose nested values are frozen. Throws `internal` for a row that does not match its declaration. The error
   * names the key and the fields, never values.
   */
  read(entry: Entry): Stored<E> {
    const { entity: { schema }, store: { parsed: known } } = this;
    const found = known.find(entry, schema);
    if (found) return found as Stored<E>;
    const parsed = schema.safeParse(entry.value);
    if (parsed.success) return known.keep(entry, schema, { ...parsed.data, version: entry.version } as Stored<E>);
    const places = parsed.error.issues.map((issue: z.core.$ZodIssue) => pointerOf(issue.path) || "/").join(", ");
    throw new InnkeepError("internal", `The stored ${this.entity.name} ${entry.key} does not match its declaration at ${places}.`);
  }

  /** Like `read`; null for a row that does not match its declaration. */
  readIfValid(entry: Entry): Stored<E> | null {
    try {
      return this.read(entry);
    } catch (error) {
      if (!isInnkeepError(error, "internal")) throw error;
      return null;
    }
  }

  keyOfRecord(record: RecordOf<E>): string {
    const fields: Readonly<Record<string, unknown>> = record;
    return this.entity.naturalKey ? String(fields["id"]) : keyOf(this.entity, fields as unknown as KeyParamsOf<E>);
  }

  /** The mutation that stores a record. Throws `validation_failed` if it does not match the schema. */
  set(record: RecordOf<E>, options?: ExpiryOf<E>): Extract<Mutation, { op: "set" }> {
    const { version, ...value } = record as RecordOf<E> & { readonly version?: string };
    const checked = parseInput(this.entity.schema, version === undefined ? record : value) as RecordOf<E>;
    return {
      op: "set",
      key: this.keyOfRecord(checked),
      value: checked as JsonObject,
      tenantId: tenantIdOf(this.entity, checked),
      cascades: cascadesOf(this.entity, checked),
      ...options,
    };
  }
}

/** The schema that each value is an output of, so that a value is parsed only once. */
const checkedBy = new WeakMap<object, z.ZodType>();

/** Parses an input, once, and checks that the store can hold it. Throws `validation_failed` with a JSON Pointer to every problem. */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  if (isChecked(schema, input)) return input as z.output<S>;
  // First: a schema must not walk a value that is too deep or not JSON.
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

/** Marks a value as an output of a schema. Call it only for a parsed value, or one changed in a way that the schema allows. */
export function markChecked<T>(schema: z.ZodType, value: T): T {
  if (typeof value === "object" && value !== null) checkedBy.set(value, schema);
  return value;
}
