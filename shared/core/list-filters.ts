import { z } from "zod";
import { errors } from "../kernel/errors.ts";
import type { AnyEntity } from "../kv/define.ts";
import { fieldTypeOf } from "../kv/fields.ts";
import type { FieldType } from "../kv/fields.ts";
import type { OrderBy } from "../kv/store.ts";

/** The filters of a list as query parameters, derived from the declaration. */
export interface FilterParameter {
  readonly name: string;
  readonly field: string;
  readonly type: FieldType;
  /** If absent, the filter compares with one or several values. Ranges are `from ≤ value < to`. */
  readonly bound?: "from" | "to";
  /** All values of an enumeration. */
  readonly values?: readonly string[];
}

/** The possible creation fields. The first one that is declared is used. */
const CREATION_FIELDS: readonly string[] = ["createdAt", "created", "timestamp", "triggeredAt", "issuedAt"];

const known = new WeakMap<AnyEntity, readonly FilterParameter[]>();

/** `status`, `mrr`, `mrrFrom`…; `createdFrom` and `createdTo` filter by the creation field. */
export function filtersOf(entity: AnyEntity): readonly FilterParameter[] {
  let filters = known.get(entity);
  if (!filters) known.set(entity, filters = readFilters(entity));
  return filters;
}

function readFilters(entity: AnyEntity): FilterParameter[] {
  const filters = (entity.filterable as readonly string[] | undefined ?? []).flatMap((field): FilterParameter[] => {
    const values = valuesOf(entity, field);
    const type = fieldTypeOf(entity, field);
    const equal = { name: field, field, type, ...(values ? { values } : {}) };
    return type === "time" || type === "number" ? [equal, ...boundsOf(entity, field, field)] : [equal];
  });
  const creation = creationField(entity);
  if (creation) filters.push(...boundsOf(entity, "created", creation));
  return filters.filter((filter, i) => filters.findIndex(({ name }) => name === filter.name) === i);
}

function boundsOf(entity: AnyEntity, name: string, field: string): FilterParameter[] {
  const type = fieldTypeOf(entity, field);
  return [{ name: `${name}From`, field, type, bound: "from" }, { name: `${name}To`, field, type, bound: "to" }];
}

function creationField(entity: AnyEntity): string | undefined {
  const declared: readonly (string | undefined)[] = [entity.filterable, entity.sortable].flat();
  return CREATION_FIELDS.find((field) => declared.includes(field));
}

/** The members of an enumeration below optional, nullable and default. */
function valuesOf(entity: AnyEntity, field: string): readonly string[] | undefined {
  let schema: unknown = entity.schema.shape[field];
  while (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) schema = schema.unwrap();
  return schema instanceof z.ZodEnum ? schema.options.map(String) : undefined;
}

/** The message for an invalid search text, else null. kv.fold also removes accents; a line break separates indexed fields. */
export function searchProblem(text: string): string | null {
  if (/\p{Cc}/u.test(text)) return "must have no line breaks or other control characters";
  return text.normalize("NFKD").replaceAll(/[\u0300-\u036f]/g, "") === "" ? "must contain more than accents" : null;
}

/** Parses `-mrr,name`. Default: the entity's order, else newest first. Throws `invalid_parameter` for a field that is not sortable. */
export function parseSort(entity: AnyEntity, sort: string | undefined = entity.defaultSort): OrderBy[] {
  const sortable: readonly string[] = entity.sortable ?? [];
  if (sort === undefined) {
    const newest = CREATION_FIELDS.find((field) => sortable.includes(field)) ??
      sortable.find((field) => fieldTypeOf(entity, field) === "time");
    return newest ? [{ field: newest, direction: "desc" }] : [];
  }
  const orders = sort.split(",").map((part): OrderBy => {
    const descending = part.startsWith("-");
    const field = descending ? part.slice(1) : part;
    if (!sortable.includes(field)) {
      throw errors.parameter("sort", `must not contain ${field || "an empty name"}, by which this list cannot be sorted`, "unknown_field");
    }
    return { field, direction: descending ? "desc" : "asc" };
  });
  if (new Set(orders.map(({ field }) => field)).size < orders.length) {
    throw errors.parameter("sort", "must not contain a field twice", "duplicate_field");
  }
  return orders;
}
