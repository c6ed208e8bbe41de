import { errors } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import { invalidCursor } from "./cursor.ts";
import type { Position } from "./cursor.ts";
import type { AnyEntity } from "./define.ts";
import { familyOf, indexesOf, personFieldsOf } from "./define.ts";
import { fieldTypeOf } from "./fields.ts";
import type { FieldType } from "./fields.ts";
import { colonsOf } from "./shape.ts";
import { LIMITS } from "./store.ts";
import type { AggregateQuery, Condition, OrderBy, Query, Scope } from "./store.ts";

/** A query as the SQL functions expect it. Field names come from the declaration. Values are bound parameters. */
export interface WireQuery {
  readonly family: string;
  /** The number of colons of the entity's keys. Omitted if they have two forms; then no other entity is in the family. */
  readonly colons?: number;
  readonly owner?: string | null;
  readonly where: readonly WireCondition[];
  readonly search?: { readonly text: string; readonly fields: readonly string[] };
  /** Where a count ends. */
  readonly upTo?: number;
  /** The count function that does it. */
  readonly counter?: string;
}
type WireCondition = WireField & Omit<Condition, "field">;
interface WireField {
  readonly field: string;
  readonly type: FieldType;
}
export type WireOrder = readonly (WireField & { readonly desc: boolean })[];

interface Selection {
  readonly entity: AnyEntity;
  readonly scope?: Scope | undefined;
  readonly where?: readonly Condition[] | undefined;
  readonly search?: string | undefined;
  readonly upTo?: number | undefined;
}

/** Validates and encodes scope, filter and search. Throws `invalid_parameter`. */
export function wireSelection(selection: Selection, tenantId: string | null): WireQuery {
  const { entity, search, upTo } = selection;
  const scope = scopeOf(entity, selection.scope, tenantId);
  const colons = colonsOf(entity);
  if (search !== undefined && !entity.searchable?.length) {
    throw errors.parameter("search", `is not supported: ${entity.name} has no searchable fields`);
  }
  if (search !== undefined) assertType("search", "text", search);
  const wire = {
    family: familyOf(entity),
    ...(colons === null ? {} : { colons }),
    ...(scope === "any" ? {} : { owner: scope }),
    // Sorted, so that a cursor is valid for any order of the conditions.
    where: (selection.where ?? []).map((condition) => wireCondition(entity, condition)).sort((a, b) => a.field < b.field ? -1 : 1),
    ...(search === undefined ? {} : { search: { text: search, fields: entity.searchable ?? [] } }),
  };
  return upTo === undefined ? wire : { ...wire, upTo, ...countFunction(entity, wire) };
}

/** A bound store filters by its tenant, so that the index on the tenant is used. Row-level security enforces the same. */
function scopeOf(entity: AnyEntity, scope: Scope | undefined, tenantId: string | null): Scope {
  if (entity.owner === "platform") return null;
  if (tenantId !== null && !entity.readableByTenants) return tenantId;
  return scope === undefined ? "any" : scope;
}

function wireCondition(entity: AnyEntity, condition: Condition): WireCondition {
  const { field, ...rest } = condition;
  if ("has" in condition || "overlaps" in condition) {
    for (const value of valuesOf(condition)) assertType(field, "text", value);
    return { field: anyField(entity, field), type: "text", ...rest };
  }
  const type = declaredType(entity, field);
  for (const value of valuesOf(condition)) assertType(field, type, value);
  if ("in" in condition && condition.in.length === 0) throw errors.parameter(field, "must have a value");
  if (("prefix" in condition || "notIn" in condition) && type !== "text") {
    throw errors.parameter(field, "must be a text field for this condition");
  }
  return { field, type, ...rest };
}

function valuesOf(condition: Condition): readonly unknown[] {
  if ("in" in condition) return condition.in;
  if ("prefix" in condition) return [condition.prefix];
  if ("has" in condition) return [condition.has];
  if ("overlaps" in condition) return condition.overlaps;
  if ("notIn" in condition) return condition.notIn;
  return [condition.from, condition.to].filter((bound) => bound !== undefined);
}

function anyField(entity: AnyEntity, field: string): string {
  if (!Object.hasOwn(entity.schema.shape, field)) throw errors.parameter(field, `is not a field of ${entity.name}`, "unknown_field");
  return field;
}

/** The type of a filter or sort field. Throws `invalid_parameter` if the entity does not declare it. */
export function declaredType(entity: AnyEntity, field: string): FieldType {
  const { userIds, emails } = personFieldsOf(entity);
  const declared: readonly string[] = [...(entity.filterable ?? []), ...sortableOf(entity), ...userIds, ...emails];
  if (!declared.includes(field)) throw errors.parameter(field, `is not a filter or sort field of ${entity.name}`, "unknown_field");
  return fieldTypeOf(entity, field);
}

function assertType(field: string, type: FieldType, value: unknown): void {
  const expected = type === "number" || type === "boolean" ? type : "string";
  if (typeof value !== expected || (type === "number" && !Number.isFinite(value))) throw errors.parameter(field, `must be a ${expected}`);
  const unstorable = type === "number" ? null : findUnstorable(value);
  if (unstorable) throw errors.parameter(field, unstorable.message, unstorable.code);
}

/** Validates the position in a caller's cursor against the types of the sort fields. Throws `invalid_cursor`. */
export function assertPosition(order: WireOrder, position: Position): void {
  const texts = [...order.map(({ type }) => type), "text" as const];
  const damaged = texts.some((type, i) => {
    const text = position[i] ?? null;
    if (text === null) return i === order.length;
    if (type === "number") return !/^-?\d+(\.\d+)?$/.test(text);
    return type === "boolean" ? text !== "true" && text !== "false" : findUnstorable(text) !== null;
  });
  if (damaged) throw invalidCursor("is damaged");
}

/** Encodes the sort fields. Throws `invalid_parameter` for a field that is not sortable. */
export function wireOrder(entity: AnyEntity, orderBy: readonly OrderBy[]): WireOrder {
  const sortable = sortableOf(entity);
  return orderBy.map(({ field, direction }) => {
    if (!sortable.includes(field)) {
      throw errors.parameter("sort", `must not contain ${field}: it is not a sort field of ${entity.name}`, "unknown_field");
    }
    return { field, type: fieldTypeOf(entity, field), desc: direction === "desc" };
  });
}

/** The sort fields, and the time field of retention, by which the cleanup finds what is old. */
function sortableOf(entity: AnyEntity): readonly string[] {
  return [...(entity.sortable ?? []), ...(entity.retention ? [entity.retention.after as string] : [])];
}

/** Encodes a page. It requests one more row than the limit, which shows whether there is a next page. */
export function wirePage(
  entity: AnyEntity,
  selection: WireQuery,
  order: WireOrder,
  page: { limit: number; offset?: number | undefined; walk?: boolean | undefined; after?: Position },
) {
  const name = page.limit <= PAGE_FUNCTION_ENTRIES && !page.offset && page.after?.[0] !== null
    ? pageFunction(entity, selection, order)
    : null;
  return {
    ...selection,
    ...(name === null ? {} : { page: page.after ? `${name}_after` : name }),
    prefix: leadingFields(entity, selection, order),
    order,
    reverse: order.at(-1)?.desc ?? false,
    limit: page.limit + 1,
    ...(page.after ? { after: page.after } : {}),
    ...(page.offset ? { offset: page.offset } : {}),
    ...(page.walk ? { walk: true } : {}),
  };
}

/** The maximum number of entries of a page function (kv.add_pages in 40_query.sql). */
const PAGE_FUNCTION_ENTRIES = 100;

/** The page function for the query, if an index has it: one value for each leading field, sorted by the last field. */
function pageFunction(entity: AnyEntity, { where, owner, search }: WireQuery, order: WireOrder): string | null {
  const [sort] = order;
  if (!sort || order.length > 1 || search || where.some((condition) => !hasOneValue(condition))) return null;
  const wanted = [...typeof owner === "string" ? ["@tenantId"] : [], ...where.map(({ field }) => field)];
  const fields = indexesOf(entity).find((index) =>
    index.at(-1) === sort.field && index.length === wanted.length + 1 && wanted.every((field) => index.includes(field))
  );
  return fields ? `${indexNameOf(entity, fields)}_${sort.desc ? "desc" : "asc"}` : null;
}

/** The count function for the query, if an index has it: one value for each leading field, and maybe the last field from a value on. */
function countFunction(entity: AnyEntity, { where, owner }: WireQuery): Pick<WireQuery, "counter"> {
  const leads = where.filter(hasOneValue).map(({ field }) => field);
  const [last, ...others] = where.filter((condition) => !hasOneValue(condition));
  if (where.length === 0 || others.length > 0 || (last && (!("from" in last) || "to" in last))) return {};
  if (owner !== undefined && entity.owner !== "platform") return {};
  const fields = indexesOf(entity).find((index) =>
    index.length === leads.length + 1 && leads.every((field) => index.slice(0, -1).includes(field)) &&
    (!last || index.at(-1) === last.field)
  );
  return fields ? { counter: `${indexNameOf(entity, fields)}${last ? "_from" : ""}` } : {};
}

/** The name of an index, as kv.index_name forms it, such as `tenant_status_created_at`. */
export function indexNameOf(entity: AnyEntity, fields: readonly string[]): string {
  const parts = fields.map((field) => field === "@tenantId" ? "owner" : field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return [entity.name.replaceAll("-", "_"), ...parts].join("_");
}

function hasOneValue(condition: WireCondition): boolean {
  return "in" in condition && (condition.in as readonly unknown[]).length === 1;
}

/** The leading fields of the index with the most fields of one value each before the sort field. */
function leadingFields(entity: AnyEntity, { where }: WireQuery, [sort]: WireOrder): WireField[] {
  const fixed = new Set(where.filter(hasOneValue).map(({ field }) => field));
  const leads = indexesOf(entity).flatMap((fields) => {
    const lead = fields.slice(0, fields.findIndex((field) => field === sort?.field));
    return lead.length > 0 && lead.every((field) => fixed.has(field)) ? [lead] : [];
  });
  const longest = leads.sort((a, b) => b.length - a.length)[0] ?? [];
  return longest.map((field) => ({ field, type: fieldTypeOf(entity, field) }));
}

/** Throws `invalid_parameter` unless the limit is 1 to 500. */
export function assertLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIMITS.pageEntries) return;
  throw errors.parameter("limit", `must be 1 to ${LIMITS.pageEntries}`);
}

/** Throws `invalid_parameter` unless limit and offset are within bounds. */
export function assertPage(query: Query): void {
  assertLimit(query.limit);
  if (query.offset !== undefined && (!Number.isInteger(query.offset) || query.offset < 0 || query.offset > LIMITS.offset)) {
    throw errors.parameter("page", `must not reach beyond record ${LIMITS.offset}; use a cursor`);
  }
}

/** All groups of a rollup, or those from a date on. */
export interface WholeRollup {
  readonly name: string;
  readonly from?: string | number | undefined;
}

/** An aggregate encoded for the rollup; null if the rollup does not cover it. */
export function wireRollup(query: Omit<AggregateQuery, "groupBy"> & { readonly groupBy: readonly string[] }, tenantId: string | null) {
  const { entity, groupBy, where = [] } = query;
  const { rollup } = entity;
  const dimensions: readonly string[] = rollup?.groupBy ?? [];
  const covered = tenantId === null && rollup && (query.scope === undefined || query.scope === "any") &&
    groupBy.every((field) => dimensions.includes(field)) && (query.sum === undefined || query.sum === rollup.sum);
  if (!covered) return null;
  const isWhole = groupBy.length === dimensions.length && groupBy.every((field, i) => field === dimensions[i]) &&
    groupBy.every((field) => ["text", "time"].includes(fieldTypeOf(entity, field)));
  const [first] = where;
  if (isWhole && where.length <= 1 && (!first || isFromDate(first, dimensions[0]))) {
    return { name: entity.name, ...(first ? { from: first.from } : {}) };
  }
  if (!where.every((condition) => "in" in condition && dimensions.includes(condition.field))) return null;
  return {
    name: entity.name,
    keep: groupBy.map((field) => dimensions.indexOf(field)),
    where: where.map((condition) => ({ at: dimensions.indexOf(condition.field), in: "in" in condition ? condition.in : [] })),
  };
}

/** Months, days and instants sort alike as JSON and as text. */
function isFromDate(condition: Condition, field: string | undefined): condition is Condition & { readonly from: string } {
  return condition.field === field && "from" in condition && !("to" in condition) &&
    /^\d{4}-\d{2}(-\d{2}(T[\d:.]+Z)?)?$/.test(String(condition.from));
}
