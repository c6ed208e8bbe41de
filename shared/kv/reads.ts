import { errors } from "../kernel/errors.ts";
import { decodeCursor, encodeCursor, fingerprintOf, type Position, steadyPart } from "./cursor.ts";
import {
  assertPage,
  assertPosition,
  declaredType,
  type WholeRollup,
  wireOrder,
  wirePage,
  wireRollup,
  wireSelection,
} from "./query-plan.ts";
import { toEntry, type WireEntry } from "./row.ts";
import type { AggregateQuery, AggregateRow, CountQuery, Query, QueryPage, Read } from "./store.ts";

/** A read of declared fields: the argument of its SQL function, and how to decode what the function returns. */
export interface WireRead<T> {
  /** The SQL function without its prefix. */
  readonly name: "query" | "total" | "aggregate";
  readonly query: unknown;
  /** The rollup whose groups are those of the query, if there is one. */
  readonly rollup?: WholeRollup | undefined;
  readonly decode: (returned: unknown) => T;
}

/** One of several reads of the service. Throws `invalid_parameter` and `invalid_cursor`. */
export function wireRead(read: Read): WireRead<QueryPage | number | AggregateRow[]> {
  if ("query" in read) return pageRead(read.query, null);
  return "count" in read ? countRead(read.count, null) : aggregateRead(read.aggregate, null);
}

/** One page, without its total. */
export function pageRead(query: Query, tenantId: string | null): WireRead<QueryPage> {
  assertPage(query);
  const selection = wireSelection(query, tenantId);
  const order = wireOrder(query.entity, query.orderBy ?? []);
  const fingerprint = fingerprintOf([steadyPart(selection), order]);
  const after = query.cursor === undefined ? {} : { after: decodeCursor(fingerprint, query.cursor, order.length + 1) };
  if (after.after) assertPosition(order, after.after);
  return {
    name: "query",
    query: wirePage(query.entity, selection, order, { limit: query.limit, offset: query.offset, walk: query.walk, ...after }),
    decode: (returned) => {
      const rows = (returned ?? []) as readonly (WireEntry & { readonly position: Position })[];
      const last = rows[query.limit - 1];
      const cursor = rows.length > query.limit && last ? encodeCursor(fingerprint, last.position) : null;
      return { entries: rows.slice(0, query.limit).map(toEntry), cursor };
    },
  };
}

/** From the rollup if it covers the conditions. */
export function countRead(what: CountQuery & Pick<Query, "search">, tenantId: string | null): WireRead<number> {
  const all = { ...what, groupBy: [] };
  if (what.upTo === undefined && what.search === undefined && wireRollup(all, tenantId)) {
    const { name, query, decode } = aggregateRead(all, tenantId);
    return { name, query, decode: (returned) => decode(returned)[0]?.count ?? 0 };
  }
  return { name: "total", query: wireSelection(what, tenantId), decode: Number };
}

export function aggregateRead(query: AggregateQuery, tenantId: string | null): WireRead<AggregateRow[]> {
  for (const field of query.groupBy) declaredType(query.entity, field);
  const rollup = wireRollup(query, tenantId);
  const [sum] = query.sum === undefined ? [] : wireOrder(query.entity, [{ field: query.sum, direction: "asc" }]);
  if (sum && sum.type !== "number") throw errors.parameter("sum", "must be a number field");
  const isWhole = rollup !== null && !("keep" in rollup);
  return {
    name: "aggregate",
    rollup: isWhole ? rollup : undefined,
    query: {
      ...wireSelection(query, tenantId),
      groupBy: query.groupBy,
      ...(sum ? { sum: sum.field } : {}),
      ...(rollup && !isWhole ? { rollup } : {}),
    },
    decode: (returned) => {
      const rows = (returned ?? []) as readonly (readonly [(string | null)[], number, string])[];
      const groups = rows.map(([group, count, total]) => ({ group, count, sum: query.sum === undefined ? "0" : total }));
      return groups.length === 0 && query.groupBy.length === 0 ? [{ group: [], count: 0, sum: "0" }] : groups;
    },
  };
}
