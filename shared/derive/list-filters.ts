import { z } from "zod";
import { addDays } from "../policies/periods.ts";
import { errors } from "../kernel/errors.ts";
import type { AnyEntity } from "../kv/define.ts";
import { FIELDS } from "../kv/fields.ts";
import type { FieldName, FieldType } from "../kv/fields.ts";
import { isTimestamp } from "../kv/key.ts";
import type { Condition, OrderBy } from "../kv/store.ts";

/** What a list may be asked, as query parameters, read off the declaration. */
export interface FilterParameter {
  readonly name: string;
  readonly field: FieldName;
  readonly type: FieldType;
  /** Absent: equal to the value, or for text to any of a comma list. `from ≤ value < to`. */
  readonly bound?: "from" | "to";
  /** All values there are, when the field is an enumeration. */
  readonly values?: readonly string[];
}

/** Parameters of every list that are no filters; {@link parseFilters} leaves them to their own readers. */
export const LIST_PARAMETERS: ReadonlySet<string> = new Set(["page", "limit", "cursor", "sort", "search"]);

const MAX_VALUES = 100;
/** The fields that say when a record came to be, the first declared one counts. */
const CREATION_FIELDS: readonly FieldName[] = ["createdAt", "created", "timestamp", "triggeredAt"];

/** `status`, `createdAt`, `createdAtFrom`…; `createdFrom` and `createdTo` stand for the field of creation. */
export function filtersOf(entity: AnyEntity): FilterParameter[] {
  const filters = (entity.filterable as readonly FieldName[] | undefined ?? []).flatMap((field): FilterParameter[] => {
    const values = valuesOf(entity, field);
    const equal = { name: field, field, type: FIELDS[field], ...(values ? { values } : {}) };
    return FIELDS[field] === "time" || FIELDS[field] === "number" ? [equal, ...boundsOf(field, field)] : [equal];
  });
  const creation = creationField(entity);
  if (creation) filters.push(...boundsOf("created", creation));
  return filters.filter((filter, i) => filters.findIndex(({ name }) => name === filter.name) === i);
}

function boundsOf(name: string, field: FieldName): FilterParameter[] {
  const type = FIELDS[field];
  return [{ name: `${name}From`, field, type, bound: "from" }, { name: `${name}To`, field, type, bound: "to" }];
}

function creationField(entity: AnyEntity): FieldName | undefined {
  const declared: readonly string[] = [...(entity.filterable ?? []), ...(entity.sortable ?? [])];
  return CREATION_FIELDS.find((field) => declared.includes(field));
}

/** The members of an enumeration below optional, nullable and default. */
function valuesOf(entity: AnyEntity, field: string): readonly string[] | undefined {
  let schema: unknown = entity.schema.shape[field];
  while (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) schema = schema.unwrap();
  return schema instanceof z.ZodEnum ? schema.options.map(String) : undefined;
}

/**
 * The conditions of a query string's filters. Every parameter besides {@link LIST_PARAMETERS} must be one of
 * {@link filtersOf}; throws `invalid_parameter` naming it. A bare day `YYYY-MM-DD` as a bound counts whole.
 */
export function parseFilters(entity: AnyEntity, params: Readonly<Record<string, string>>): Condition[] {
  const filters = filtersOf(entity);
  const equal: Condition[] = [];
  const ranges = new Map<FieldName, { from?: string | number; to?: string | number }>();
  for (const [name, text] of Object.entries(params)) {
    if (LIST_PARAMETERS.has(name)) continue;
    const filter = filters.find((candidate) => candidate.name === name);
    if (!filter) throw errors.parameter(name, `${entity.name} has no such filter`, "unknown_field");
    if (filter.bound) ranges.set(filter.field, { ...ranges.get(filter.field), [filter.bound]: parseBound(filter, text) });
    else equal.push({ field: filter.field, in: parseValues(filter, text) });
  }
  return [...equal, ...[...ranges].map(([field, range]) => ({ field, ...range }))];
}

function parseValues(filter: FilterParameter, text: string): (string | number | boolean)[] {
  if (filter.type !== "text") return [parseTyped(filter, text)];
  const values = [...new Set(text.split(",").map((value) => value.trim()))];
  if (values.includes("")) throw errors.parameter(filter.name, "needs a value");
  if (values.length > MAX_VALUES) throw errors.parameter(filter.name, `takes at most ${MAX_VALUES} values`);
  const unknown = filter.values && values.find((value) => !filter.values?.includes(value));
  if (unknown !== undefined) throw errors.parameter(filter.name, `must be any of ${filter.values?.join(", ")}`, "unknown_value");
  return values;
}

function parseTyped(filter: FilterParameter, text: string): string | number | boolean {
  switch (filter.type) {
    case "number":
      return parseNumber(filter.name, text);
    case "boolean":
      if (text !== "true" && text !== "false") throw errors.parameter(filter.name, "must be true or false");
      return text === "true";
    case "time":
      if (!isTimestamp(text)) throw errors.parameter(filter.name, "must be a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ");
      return text;
    case "text":
      return text;
  }
}

function parseBound(filter: FilterParameter, text: string): string | number {
  if (filter.type === "number") return parseNumber(filter.name, text);
  if (isTimestamp(text)) return text;
  const midnight = `${text}T00:00:00.000Z`;
  if (!isTimestamp(midnight)) throw errors.parameter(filter.name, "must be a day YYYY-MM-DD or a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ");
  return filter.bound === "to" ? addDays(midnight, 1) : midnight;
}

/** JSON's numbers without an exponent: no blanks, no hexadecimal, nothing that rounds to infinity. */
function parseNumber(name: string, text: string): number {
  if (!/^-?\d{1,15}(\.\d{1,15})?$/.test(text)) throw errors.parameter(name, "must be a number");
  return Number(text);
}

/** `-mrr,name` as an order; left out, newest first. Throws `invalid_parameter` on a field that is not sortable. */
export function parseSort(entity: AnyEntity, sort?: string): OrderBy[] {
  const sortable: readonly string[] = entity.sortable ?? [];
  if (sort === undefined) {
    const newest = CREATION_FIELDS.find((field) => sortable.includes(field)) ??
      sortable.find((field) => FIELDS[field as FieldName] === "time");
    return newest ? [{ field: newest, direction: "desc" }] : [];
  }
  const orders = sort.split(",").map((part): OrderBy => {
    const descending = part.startsWith("-");
    const field = descending ? part.slice(1) : part;
    if (!sortable.includes(field)) {
      throw errors.parameter("sort", `${entity.name} cannot be sorted by ${field || "nothing"}`, "unknown_field");
    }
    return { field, direction: descending ? "desc" : "asc" };
  });
  if (new Set(orders.map(({ field }) => field)).size < orders.length) {
    throw errors.parameter("sort", "names a field twice", "duplicate_field");
  }
  return orders;
}
