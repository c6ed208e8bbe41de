import { errors } from "../kernel/errors.ts";
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
  return {
    ...prefixRange(familyOf(entity)),
    ...(owner === "any" ? {} : { owner }),
    where: (selection.where ?? []).map((condition) => wireCondition(entity, condition)),
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
  for (const value of "in" in condition ? condition.in : []) assertType(field, type, value);
  if ("in" in condition && condition.in.length === 0) throw errors.parameter(field, "needs a value");
  if ("prefix" in condition && type !== "text") throw errors.parameter(field, "takes no prefix");
  return { column: fieldColumn(field as FieldName), field, type, ...rest };
}

function declaredType(entity: AnyEntity, field: string): FieldType {
  const declared: readonly string[] = [...(entity.filterable ?? []), ...(entity.sortable ?? [])];
  if (!declared.includes(field)) throw errors.parameter(field, `${entity.name} has no such filter or sort field`, "unknown_field");
  return FIELDS[field as FieldName];
}

function assertType(field: string, type: FieldType, value: string | number | boolean): void {
  const expected = type === "number" || type === "boolean" ? type : "string";
  if (typeof value !== expected || (type === "number" && !Number.isFinite(value))) throw errors.parameter(field, `must be a ${expected}`);
}

export function wireOrder(entity: AnyEntity, orderBy: readonly OrderBy[]): WireOrder {
  const sortable: readonly string[] = entity.sortable ?? [];
  return orderBy.map(({ field, direction }) => {
    if (!sortable.includes(field)) throw errors.parameter("sort", `${entity.name} cannot be sorted by ${field}`, "unknown_field");
    return { column: fieldColumn(field as FieldName), type: FIELDS[field as FieldName], desc: direction === "desc" };
  });
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
