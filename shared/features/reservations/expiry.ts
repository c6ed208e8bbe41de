import { Collection } from "../../core/collection.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { usageRecord } from "../usage/entity.ts";
import { markFor } from "../usage/marks.ts";
import type { Place } from "../usage/reads.ts";
import { plus } from "../usage/rules.ts";
import { type Reservation, reservation } from "./entity.ts";
import { isExpired, released } from "./rules.ts";

/** The maximum number of reservations that a caller who needs their amounts releases at once. */
const MAX_AT_ONCE = 50;

/** Releases the expired reservations of a metric, so that their amounts fit again. Returns how many there were. */
export async function releaseExpiredOf(work: UnitOfWork, { tenantId, metric }: Place): Promise<number> {
  const { entries } = await work.store.query({
    entity: reservation,
    scope: tenantId,
    where: [
      { field: "status", in: ["held"] },
      { field: "metric", in: [metric.id] },
      { field: "expiresAt", to: isoTime(work.context.clock.now() + 1) },
    ],
    orderBy: [{ field: "expiresAt", direction: "asc" }],
    limit: MAX_AT_ONCE,
  });
  await releaseExpired(work, entries.map(({ key }) => key));
  return entries.length;
}

/** Releases the reservations that have expired, in one commit. The others stay as they are. */
export async function releaseExpired(work: UnitOfWork, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  const reservations = new Collection(reservation, work.store);
  await work.transact(async () => {
    const found = (await reservations.getMany(keys)).filter((one) => one !== null && isExpired(one, work.now())) as Reservation[];
    const [first] = found;
    if (!first) return { done: {}, resultOf: null };
    const changes = found.map((before): Change => (
      {
        entity: reservation,
        before: before as NonNullable<Change["before"]>,
        after: { ...released(before, work.now()), updatedAt: work.now() },
      }
    ));
    return { commit: { changes, mutations: freed(work, found), audit: "none", result: {} }, resultOf: first.tenantId };
  });
}

/** Takes the amounts out of the usage that contains them. */
function freed(work: UnitOfWork, found: readonly Reservation[]): Mutation[] {
  const amounts = new Map<string, { readonly of: Reservation; readonly amount: number }>();
  const marks = new Map<string, Mutation>();
  for (const one of found) {
    const key = keyOf(usageRecord, one);
    amounts.set(key, { of: one, amount: plus(amounts.get(key)?.amount ?? 0, one.amount) });
    const mark = markFor(work, one.tenantId, one.period);
    if (mark) marks.set(mark.mutation.key, mark.mutation);
  }
  const usage = [...amounts].map(([key, { amount }]): Mutation => ({
    op: "increment",
    key,
    add: [{ path: ["current"], by: -amount, min: 0 }, { path: ["reserved"], by: -amount, min: 0 }],
    merge: { updatedAt: work.now() },
  }));
  return [...usage, ...marks.values()];
}
