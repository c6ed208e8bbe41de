import { errors, InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import type { Position } from "./cursor.ts";
import type { AnyEntity } from "./define.ts";
import { familyOf } from "./define.ts";
import { fieldTypeOf } from "./fields.ts";
import type { FieldType } from "./fields.ts";
import { colonsOf } from "./shape.ts";
import { LIMITS } from "./store.ts";
import type { AggregateQuery, Condition, OrderBy, Query, Scope } from "./store.ts";

/** A query as the SQL functions take it. Field names come from the declaration; values travel as data. */
export interface WireQuery {
  readonly family: string;
  /** The entity's shape of keys; left out where its keys have two, and then the family is its own. */
  readonly colons?: number;
  readonly owner?: string | null;
  readonly where: readonly WireCondition[];
  readonly search?: { readonly text: string; readonly fields: readonly string[] };
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
}

export function wireSelection(selection: Selection, tenantId: string | null): WireQuery {
  const { entity, search } = selection;
  const scope = scopeOf(entity, selection.scope, tenantId);
  const colons = colonsOf(entity);
  if (search !== undefined && !entity.searchable?.length) {
    throw errors.parameter("search", `is not supported: ${entity.name} has no searchable fields`);
  }
  if (search !== undefined) assertType("search", "text", search);
  return {
    family: familyOf(entity),
    ...(colons === null ? {} : { colons }),
    ...(scope === "any" ? {} : { owner: scope }),
    // In one order, so that a cursor holds however the filter was written.
    where: (selection.where ?? []).map((condition) => wireCondition(entity, condition)).sort((a, b) => a.field < b.field ? -1 : 1),
    ...(search === undefined ? {} : { search: { text: search, fields: entity.searchable ?? [] } }),
  };
}

/** A bound store asks for its own rows, so that their index serves; row-level security holds it to them anyway. */
function scopeOf(entity: AnyEntity, scope: Scope | undefined, tenantId: string | null): Scope {
  if (entity.owner === "platform") return null;
  if (tenantId !== null && !entity.readableByTenants) return tenantId;
  return scope === undefined ? "any" : scope;
}

function wireCondition(entity: AnyEntity, condition: Condition): WireCondition {
  const { field, ...rest } = condition;
  if ("has" in condition) return { field: objectField(entity, field), type: "text", ...rest };
  const type = declaredType(entity, field);
  for (const value of valuesOf(condition)) assertType(field, type, value);
  if ("in" in condition && condition.in.length === 0) throw errors.parameter(field, "must have a value");
  if ("prefix" in condition && type !== "text") throw errors.parameter(field, "must be a text field to match a prefix");
  return { field, type, ...rest };
}

function valuesOf(condition: Condition): readonly unknown[] {
  if ("in" in condition) return condition.in;
  if ("prefix" in condition) return [condition.prefix];
  if ("has" in condition) return [condition.has];
  return [condition.from, condition.to].filter((bound) => bound !== undefined);
}

function objectField(entity: AnyEntity, field: string): string {
  if (!Object.hasOwn(entity.schema.shape, field)) throw errors.parameter(field, `is not a field of ${entity.name}`, "unknown_field");
  return field;
}

export function declaredType(entity: AnyEntity, field: string): FieldType {
  const declared: readonly string[] = [...(entity.filterable ?? []), ...(entity.sortable ?? [])];
  if (!declared.includes(field)) throw errors.parameter(field, `is not a filter or sort field of ${entity.name}`, "unknown_field");
  return fieldTypeOf(entity, field);
}

function assertType(field: string, type: FieldType, value: unknown): void {
  const expected = type === "number" || type === "boolean" ? type : "string";
  if (typeof value !== expected || (type === "number" && !Number.isFinite(value))) throw errors.parameter(field, `must be a ${expected}`);
  const unstorable = type === "number" ? null : findUnstorable(value);
  if (unstorable) throw errors.parameter(field, unstorable.message, unstorable.code);
}

/** A cursor comes back from outside: its position must be texts of the sort fields' types. Throws `invalid_cursor`. */
export function assertPosition(order: WireOrder, position: Position): void {
  const texts = [...order.map(({ type }) => type), "text" as const];
  const damaged = texts.some((type, i) => {
    const text = position[i] ?? null;
    if (text === null) return i === order.length;
    if (type === "number") return !/^-?\d+(\.\d+)?$/.test(text);
    return type === "boolean" ? text !== "true" && text !== "false" : findUnstorable(text) !== null;
  });
  if (!damaged) return;
  throw new InnkeepError("invalid_cursor", "The cursor is damaged. Start again without it.", [{
    path: "cursor",
    message: "is damaged",
    code: "invalid_cursor",
  }]);
}

export function wireOrder(entity: AnyEntity, orderBy: readonly OrderBy[]): WireOrder {
  const sortable: readonly string[] = entity.sortable ?? [];
  return orderBy.map(({ field, direction }) => {
    if (!sortable.includes(field)) {
      throw errors.parameter("sort", `must not contain ${field}, by which ${entity.name} cannot be sorted`, "unknown_field");
    }
    return { field, type: fieldTypeOf(entity, field), desc: direction === "desc" };
  });
}

/** A page as the SQL function takes it; one row more than asked tells whether there is a next. */
export function wirePage(
  entity: AnyEntity,
  selection: WireQuery,
  order: WireOrder,
  page: { limit: number; offset?: number | undefined; after?: Position },
) {
  const kept = page.limit <= KEPT_PAGE_ENTRIES && !page.offset && page.after?.[0] !== null ? keptPage(entity, selection, order) : null;
  return {
    ...selection,
    ...(kept === null ? {} : { page: page.after ? `${kept}_after` : kept }),
    prefix: leadingFields(entity, selection, order),
    order,
    reverse: order.at(-1)?.desc ?? false,
    limit: page.limit + 1,
    ...(page.after ? { after: page.after } : {}),
    ...(page.offset ? { offset: page.offset } : {}),
  };
}

/** The SQL functions that are kept for declared indexes read so many entries at most (40_query.sql, kv.add_pages). */
const KEPT_PAGE_ENTRIES = 100;

/** The kept page that this query is: one value for each leading field of an index, sorted by its last field. */
function keptPage(entity: AnyEntity, { where, owner, search }: WireQuery, order: WireOrder): string | null {
  const [sort] = order;
  if (!sort || order.length > 1 || search || where.some((condition) => !hasOneValue(condition))) return null;
  const wanted = [...typeof owner === "string" ? ["@tenantId"] : [], ...where.map(({ field }) => field)];
  const fields = ((entity.indexes ?? []) as readonly (readonly string[])[]).find((index) =>
    index.at(-1) === sort.field && index.length === wanted.length + 1 && wanted.every((field) => index.includes(field))
  );
  return fields ? `${indexNameOf(entity, fields)}_${sort.desc ? "desc" : "asc"}` : null;
}

/** As kv.index_name makes it: `tenant_status_created_at`. */
export function indexNameOf(entity: AnyEntity, fields: readonly string[]): string {
  const parts = fields.map((field) => field === "@tenantId" ? "owner" : field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return [entity.name.replaceAll("-", "_"), ...parts].join("_");
}

function hasOneValue(condition: WireCondition): boolean {
  return "in" in condition && (condition.in as readonly unknown[]).length === 1;
}

/** Of the declared indexes that go on with the sort field, the fields with one value each that lead the longest. */
function leadingFields(entity: AnyEntity, { where }: WireQuery, [sort]: WireOrder): WireField[] {
  const fixed = new Set(
    where.filter((condition) => "in" in condition && (condition.in as unknown[]).length === 1).map(({ field }) => field),
  );
  const leads = ((entity.indexes ?? []) as readonly (readonly string[])[]).flatMap((fields) => {
    const lead = fields.slice(0, fields.findIndex((field) => field === sort?.field));
    return lead.length > 0 && lead.every((field) => fixed.has(field)) ? [lead] : [];
  });
  const longest = leads.sort((a, b) => b.length - a.length)[0] ?? [];
  return longest.map((field) => ({ field, type: fieldTypeOf(entity, field) }));
}

export function assertPage(query: Query): void {
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > LIMITS.pageEntries) {
    throw errors.parameter("limit", `must be 1 to ${LIMITS.pageEntries}`);
  }
  if (query.offset !== undefined && (!Number.isInteger(query.offset) || query.offset < 0 || query.offset > LIMITS.offset)) {
    throw errors.parameter("page", `must not reach beyond record ${LIMITS.offset}; use a cursor`);
  }
}

/** The rollup's form of an aggregate, or null when the rollup does not cover it. */
export function wireRollup(query: Omit<AggregateQuery, "groupBy"> & { readonly groupBy: readonly string[] }, tenantId: string | null) {
  const { rollup } = query.entity;
  const dimensions: readonly string[] = rollup?.groupBy ?? [];
  const covered = tenantId === null && rollup && (query.scope === undefined || query.scope === "any") &&
    query.groupBy.every((field) => dimensions.includes(field)) && (query.sum === undefined || query.sum === rollup.sum) &&
    (query.where ?? []).every((condition) => "in" in condition && dimensions.includes(condition.field));
  if (!covered) return null;
  return {
    name: query.entity.name,
    keep: query.groupBy.map((field) => dimensions.indexOf(field)),
    where: (query.where ?? []).map((condition) => ({ at: dimensions.indexOf(condition.field), in: "in" in condition ? condition.in : [] })),
  };
}
