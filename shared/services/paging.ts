import { errors } from "../kernel/errors.ts";
import type { Collection, Stored } from "../kv/collection.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Condition, OrderBy, Scope } from "../kv/store.ts";
import { parseSort } from "../derive/list-filters.ts";

/** Which page: by number (`page`, from 1), or onwards from a cursor. */
export interface Pagination {
  readonly page?: number;
  /** 1–100, default 20. */
  readonly limit?: number;
  readonly cursor?: string;
}

/** The page form has all members; with a cursor only `limit`, `hasNext` and `nextCursor` are known. */
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

/** Field → value, or any of several values. */
export type Filters = Readonly<Record<string, string | number | boolean | readonly (string | number | boolean)[] | undefined>>;

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
  defaultSort: readonly OrderBy[],
): Promise<Page<Stored<E>>> {
  const { page = 1, limit = DEFAULT_LIMIT, cursor } = request.pagination ?? {};
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) throw errors.parameter("limit", `must be 1 to ${MAX_LIMIT}`);
  if (!Number.isInteger(page) || page < 1) throw errors.parameter("page", "must be 1 or more");
  if (cursor !== undefined && request.pagination?.page !== undefined) {
    throw errors.parameter("page", "cannot be given together with a cursor");
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
  if (sort === undefined) return defaultSort;
  if (typeof sort === "string") return parseSort(entity, sort);
  return "field" in sort ? [sort] : sort;
}

/** Filters of library callers as conditions: a value, or any of several. The store refuses undeclared fields. */
export function conditionsOf(filters: Filters): Condition[] {
  return Object.entries(filters).flatMap(([field, value]) =>
    value === undefined ? [] : [{ field, in: Array.isArray(value) ? value : [value as string] }]
  );
}
