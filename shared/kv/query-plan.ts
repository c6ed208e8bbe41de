import { errors, InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import type { JsonValue } from "../kernel/json.ts";
import { familyOf } from "./define.ts";
import type { AnyEntity } from "./define.ts";
import { fieldColumn, FIELDS } from "./fields.ts";
import type { FieldName, FieldType } from "./fields.ts";
import { prefixRange } from "./key.ts";
import { LIMITS } from "./store.ts";
import type { AggregateQuery, Condition, OrderBy, OwnerScope, Query } from "./store.ts";

/** A query as the SQL functions take it. Field names come from the declaration; values travel as data. */
export interface WireQuery {
  readonly start: string;
  readonly end: string;
  readonly owner?: string | null;
  readonly where: readonly WireCondition[];
  readonly search?: string;
}
type WireCondition = { readonly column: string; readonly field: string; readonly type: FieldType } & Omit<Condition, "field">;
export type WireOrder = readonly { readonly column: string; readonly type: FieldType; readonly desc: boolean }[];

interface Selection {
  readonly entity: AnyEntity;
  readonly owner?: OwnerScope | undefined;
  readonly where?: readonly Condition[] | undefined;
  readonly search?: string | undefined;
}

export function wireSelection(selection: Selection, tenantId: string | null): WireQuery {
  const { entity, search } = selection;
  const owner = ownerCondition(entity, selection.owner, tenantId);
  if (search !== undefined && !entity.searchable?.length) throw errors.parameter("search", `${entity.name} has no searchable fields`);
  if (search !== undefined) assertType("search", "text", search);
  return {
    ...prefixRange(familyOf(entity)),
    ...(owner === "any" ? {} : { owner }),
    // In one order, so that a filter has one shape however it was written.
    where: (selection.where ?? []).map((condition) => wireCondition(entity, condition)).sort((a, b) => a.column < b.column ? -1 : 1),
    ...(search === undefined ? {} : { search }),
  };
}

/** A bound store asks for its own rows, so that their index serves; row-level security holds it to them anyway. */
function ownerCondition(entity: AnyEntity, owner: OwnerScope | undefined, tenantId: string | null): OwnerScope {
  if (entity.owner === "platform") return null;
  if (tenantId !== null && !entity.readableByTenants) return tenantId;
  return owner === undefined ? "any" : owner;
}

function wireCondition(entity: AnyEntity, condition: Condition): WireCondition {
  const { field, ...rest } = condition;
  const type = declaredType(entity, field);
  for (const value of valuesOf(condition)) assertType(field, type, value);
  if ("in" in condition && condition.in.length === 0) throw errors.parameter(field, "needs a value");
  if ("prefix" in condition && type !== "text") throw errors.parameter(field, "takes no prefix");
  return { column: fieldColumn(field as FieldName), field, type, ...rest };
}

function valuesOf(condition: Condition): readonly unknown[] {
  if ("in" in condition) return condition.in;
  if ("prefix" in condition) return [condition.prefix];
  return [condition.from, condition.to].filter((bound) => bound !== undefined);
}

export function declaredType(entity: AnyEntity, field: string): FieldType {
  const declared: readonly string[] = [...(entity.filterable ?? []), ...(entity.sortable ?? [])];
  if (!declared.includes(field)) throw errors.parameter(field, `${entity.name} has no such filter or sort field`, "unknown_field");
  return FIELDS[field as FieldName];
}

function assertType(field: string, type: FieldType, value: unknown): void {
  const expected = type === "number" || type === "boolean" ? type : "string";
  if (typeof value !== expected || (type === "number" && !Number.isFinite(value))) throw errors.parameter(field, `must be a ${expected}`);
  const unstorable = type === "number" ? null : findUnstorable(value);
  if (unstorable) throw errors.parameter(field, unstorable.message, unstorable.code);
}

/** A cursor comes back from outside: its position must be of the sort fields' types. Throws `invalid_cursor`. */
export function assertPosition(order: WireOrder, position: readonly JsonValue[]): void {
  try {
    for (const [i, { type }] of order.entries()) if (position[i] !== null) assertType("cursor", type, position[i]);
    assertType("cursor", "text", position[order.length]);
  } catch (error) {
    throw new InnkeepError(
      "invalid_cursor",
      "the cursor is damaged",
      [{ path: "cursor", message: "is damaged", code: "invalid_cursor" }],
      {},
      { cause: error },
    );
  }
}

export function wireOrder(entity: AnyEntity, orderBy: readonly OrderBy[]): WireOrder {
  const sortable: readonly string[] = entity.sortable ?? [];
  return orderBy.map(({ field, direction }) => {
    if (!sortable.includes(field)) throw errors.parameter("sort", `${entity.name} cannot be sorted by ${field}`, "unknown_field");
    return { column: fieldColumn(field as FieldName), type: FIELDS[field as FieldName], desc: direction === "desc" };
  });
}

/** Pages are planned in one of two sizes, so that a plan serves many limits; one row more tells whether there is a next. */
const PAGE_SIZES = [100, LIMITS.pageEntries] as const;

/** A page as the SQL function takes it, with the shape its plan is kept under. */
export function wirePage(
  selection: WireQuery,
  order: WireOrder,
  page: { limit: number; offset?: number | undefined; after?: readonly JsonValue[] },
) {
  const size = PAGE_SIZES.find((size) => size >= page.limit) ?? LIMITS.pageEntries;
  const { where, owner, search, ...range } = selection;
  const shape = JSON.stringify([
    range,
    owner === undefined ? "any" : owner === null ? "platform" : "tenant",
    search !== undefined,
    where.map((
      condition,
    ) => [
      condition.column,
      "in" in condition && Array.isArray(condition.in) ? Math.min(condition.in.length, 2) : Object.keys(condition).sort(),
    ]),
    order,
    page.after?.map((value) => value === null),
    size,
  ]);
  return {
    ...selection,
    order,
    shape,
    reverse: order.at(-1)?.desc ?? false,
    limit: size + 1,
    want: page.limit + 1,
    ...(page.after ? { after: page.after } : {}),
    ...(page.offset ? { offset: page.offset } : {}),
  };
}

export function assertPage(query: Query): void {
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > LIMITS.pageEntries) {
    throw errors.parameter("limit", `must be 1 to ${LIMITS.pageEntries}`);
  }
  if (query.offset !== undefined && (!Number.isInteger(query.offset) || query.offset < 0 || query.offset > LIMITS.offset)) {
    throw errors.parameter("page", `reaches at most ${LIMITS.offset} records deep; use the cursor`);
  }
}

/** The rollup's form of an aggregate, or null when the rollup does not cover it. */
export function wireRollup(query: Omit<AggregateQuery, "groupBy"> & { readonly groupBy: readonly string[] }, tenantId: string | null) {
  const { rollup } = query.entity;
  const dimensions: readonly string[] = rollup?.groupBy ?? [];
  const covered = tenantId === null && rollup && (query.owner === undefined || query.owner === "any") &&
    query.groupBy.every((field) => dimensions.includes(field)) && (query.sum === undefined || query.sum === rollup.sum) &&
    (query.where ?? []).every((condition) => "in" in condition && dimensions.includes(condition.field));
  if (!covered) return null;
  return {
    rollup: familyOf(query.entity),
    keep: query.groupBy.map((field) => dimensions.indexOf(field)),
    where: (query.where ?? []).map((condition) => ({ at: dimensions.indexOf(condition.field), in: "in" in condition ? condition.in : [] })),
  };
}
