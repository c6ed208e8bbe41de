import { createBackend } from "../../shared/container.ts";
import { Collection } from "../../shared/core/collection.ts";
import { outboxEvent } from "../../shared/core/outbox-event.ts";
import { eventHead } from "../../shared/features/events/entity.ts";
import { HEAD_ID } from "../../shared/features/events/sequence.ts";
import { EventService } from "../../shared/features/events/service.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDatabase } from "./dataset.ts";
import { Habit } from "./habit.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const EVENTS = 20_000;
const TENANTS = 100;
const PAGE = 100;
const BATCH = 500;
/** Operations are pages. */
const PAGES = { all: EVENTS / PAGE, tenant: EVENTS / PAGE, habit: 20 } as const;
const ROUNDS = 5;

/** Events a second through polling: pages of 100 after a cursor, against loading the prefix and filtering it. */
export async function pollingRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_polling");
  const store = open(database.appUrl);
  const backend = createBackend({ store, clock: systemClock, logger: silentLogger });
  const platform = new EventService(backend.bind(systemContext(systemClock, "bench", "jobs")));
  const own = new EventService(
    backend.bind({ actor: { type: "user", id: "user" }, tenantId: "tn_7", requestId: "bench", clock: systemClock }),
  );
  const habit = new Habit(database.superUrl);
  try {
    await fill(store, habit);
    // As autovacuum does within a minute of so many inserts.
    await habit.pool.query("analyze");
    const contenders = [
      { name: "all", run: reader(platform, PAGE) },
      { name: "tenant", run: reader(own, PAGE) },
      {
        name: "habit",
        run: async (i: number) => {
          const after = (i * PAGE) % EVENTS;
          const events = await habit.getByPrefix("event:");
          const page = events.filter(({ seq }) => Number(seq) > after).sort((a, b) => Number(a["seq"]) - Number(b["seq"])).slice(0, PAGE);
          if (page.length !== PAGE) throw new Error(`${page.length} events instead of ${PAGE}`);
        },
      },
    ];
    const of = byName(await interleave(contenders, { callers: 1, operations: PAGES, rounds: ROUNDS }));
    const perSecond = (name: string) => Math.round((of(name)?.perSecond ?? 0) * PAGE).toLocaleString("en-US");
    report({
      operation: `polling for the next ${PAGE} of ${EVENTS.toLocaleString("en-US")} events`,
      callers: 1,
      store: rate(of("all")),
      against: "load the prefix, filter, sort",
      other: rate(of("habit")),
      ratio: ratio(of("all"), of("habit")),
      target: null,
      note: `${perSecond("all")} events a second; ${perSecond("tenant")} of one of ${TENANTS} tenants, by its own user`,
    });
  } finally {
    await habit.pool.end();
  }
}

/** Reads page after page, and begins again at the end. */
function reader(service: EventService, limit: number): () => Promise<void> {
  let after: string | undefined;
  return async () => {
    const page = await service.list({ after, limit });
    if (page.data.length === 0) throw new Error("a page has no events");
    after = page.hasMore ? page.nextCursor : undefined;
  };
}

async function fill(store: Store, habit: Habit): Promise<void> {
  const events = new Collection(outboxEvent, store);
  await habit.pool.query("create table if not exists kv_store (key text primary key, value jsonb not null)");
  const createdAt = new Date().toISOString();
  for (let from = 0; from < EVENTS; from += BATCH) {
    const made = Array.from({ length: BATCH }, (_, i) => {
      const seq = from + i + 1;
      const tenantId = `tn_${seq % TENANTS}`;
      const data = { tenant: { id: tenantId, name: `Hotel ${seq}`, status: "active", notes: "x".repeat(500) } };
      return { id: `evt_${seq}`, type: "tenant.updated", tenantId, subject: tenantId, data, createdAt, seq, recordVersion: String(seq) };
    });
    await store.commit([], made.map((event) => events.set(event)));
    await habit.msetInOneStatement(made.map((event) => [`event:${event.id}`, event]));
  }
  const head = { id: HEAD_ID, seq: EVENTS, keptDays: 30, updatedAt: createdAt };
  await store.commit([], [new Collection(eventHead, store).set(head)]);
}
