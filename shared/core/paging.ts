import { errors } from "../kernel/errors.ts";
import type { Collection, Stored } from "./collection.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Condition, OrderBy, Scope } from "../kv/store.ts";
import { isTimestamp } from "../kv/key.ts";
import { type FilterParameter, filtersOf, parseSort, searchProblem } from "./list-filters.ts";

/** Selects a page by number (`page`, from 1) or by cursor. */
export interface Pagination {
  readonly page?: number;
  /** 1–100, default 20. */
  readonly limit?: number;
  readonly cursor?: string;
}

/** A numbered page has all members, a page by cursor only `limit`, `hasNext` and `nextCursor`. */
export interface PaginationInfo {
  readonly page?: number;
  readonly limit: number;
  readonly total?: number;
  readonly totalPages?: number;
  readonly hasNext: boolean;
  readonly hasPrev?: boolean;
  readonly nextCursor?: string;
}

export interface Page<T> {
  readonly data: T[];
  readonly pagination: PaginationInfo;
}

type FilterValue = string | number | boolean;

/**
 * Field → value, or a list of alternatives. Times and numbers also have ranges: `mrrFrom` is inclusive, `mrrTo` exclusive. An
 * empty text or list is ignored, like an empty parameter.
 */
export interface Filters {
  readonly [name: string]: FilterValue | readonly FilterValue[] | undefined;
  readonly search?: string;
  /** Instants: created at or after `createdFrom`, and before `createdTo`. */
  readonly createdFrom?: string;
  readonly createdTo?: string;
}

export type Sort = string | OrderBy | readonly OrderBy[];

export interface ListRequest {
  readonly where?: readonly Condition[];
  readonly search?: string | undefined;
  readonly sort?: Sort | undefined;
  readonly pagination?: Pagination | undefined;
  readonly scope?: Scope;
}

const MAX_LIMIT = 100;
const DEFAULT_LIMIT = 20;

/** One page of a collection in the shape every list of the API has. */
export async function listPage<E extends AnyEntity>(
  collection: Collection<E>,
  request: ListRequest,
  defaultSort: readonly OrderBy[] = parseSort(collection.entity),
): Promise<Page<Stored<E>>> {
  const { page = 1, limit = DEFAULT_LIMIT } = request.pagination ?? {};
  const cursor = request.pagination?.cursor || undefined;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) throw errors.parameter("limit", `must be 1 to ${MAX_LIMIT}`);
  if (!Number.isInteger(page) || page < 1) throw errors.parameter("page", "must be 1 or more");
  if (cursor !== undefined && request.pagination?.page !== undefined) {
    throw errors.parameter("page", "cannot be combined with cursor");
  }
  const { records, cursor: nextCursor, total = 0 } = await collection.list({
    where: request.where ?? [],
    orderBy: orderOf(collection.entity, request.sort, defaultSort),
    limit,
    ...(request.scope === undefined ? {} : { scope: request.scope }),
    ...(request.search ? { search: request.search } : {}),
    ...(cursor === undefined ? { offset: (page - 1) * limit, withTotal: true } : { cursor }),
  });
  const next = { hasNext: nextCursor !== null, ...(nextCursor === null ? {} : { nextCursor }) };
  if (cursor !== undefined) return { data: records, pagination: { limit, ...next } };
  return { data: records, pagination: { page, limit, total, totalPages: Math.ceil(total / limit), hasPrev: page > 1, ...next } };
}

function orderOf(entity: AnyEntity, sort: Sort | undefined, defaultSort: readonly OrderBy[]): readonly OrderBy[] {
  if (sort === undefined || sort === "") return defaultSort;
  if (typeof sort === "string") return parseSort(entity, sort);
  return "field" in sort ? [sort] : sort;
}

/** Converts filters to conditions of the store. Throws `invalid_parameter` for a filter that is not declared. */
export function selectionOf(entity: AnyEntity, { search, ...filters }: Filters): Pick<ListRequest, "where" | "search"> {
  const problem = search ? searchProblem(search) : null;
  if (problem !== null) throw errors.parameter("search", problem);
  return { where: conditionsOf(entity, filters), search };
}

/** Combines both ends of a range into one condition. */
function conditionsOf(entity: AnyEntity, filters: Omit<Filters, "search">): Condition[] {
  const equal: Condition[] = [];
  const ranges = new Map<string, { from?: string | number; to?: string | number }>();
  const offered = filtersOf(entity);
  for (const [name, value] of Object.entries(filters)) {
    const filter = offered.find((candidate) => candidate.name === name);
    if (value !== undefined && !filter) throw errors.parameter(name, "is not a filter of this list", "unknown_field");
    const values = [value].flat().filter((one): one is FilterValue => one !== undefined && one !== "");
    if (!filter || values.length === 0) continue;
    const { field, bound } = filter;
    if (bound) ranges.set(field, { ...ranges.get(field), [bound]: endOf(filter, values) });
    else equal.push({ field, in: values });
  }
  return [...equal, ...[...ranges].map(([field, range]) => ({ field, ...range }))];
}

function endOf({ name, type }: FilterParameter, [value, ...more]: readonly FilterValue[]): string | number {
  if (more.length > 0) throw errors.parameter(name, "must be one value");
  if (type === "number" && typeof value === "number" && Number.isFinite(value)) return value;
  if (type === "time" && typeof value === "string" && isTimestamp(value)) return value;
  throw errors.parameter(name, type === "number" ? "must be a number" : "must be a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ");
}
