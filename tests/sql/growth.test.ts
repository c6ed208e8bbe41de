import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { readMigrations } from "../../functions/local/migrations.ts";
import { migrate } from "../../shared/adapters/migrator.ts";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { buildPending } from "../../shared/adapters/pending-builds.ts";
import { registry } from "../../shared/features/registry.ts";
import { instant, segment } from "../../shared/core/values.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { declaredBy, schemaChanges } from "../../shared/kv/declared.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { wireOrder, wirePage, wireSelection } from "../../shared/kv/query-plan.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";

/** More than 100,000: the indexes of a family as large are built beside its writers. */
const ROWS = 120_000;
const TENANTS = 200;
const CALLERS = 8;
const STATUSES = ["held", "booked", "paid", "cancelled"] as const;
const VOUCHERS = 1_000;
const VERSIONS = ["20991229000000", "20991230000000", "20991231000000"] as const;

const before = defineEntity({
  name: "booking",
  summary: "A stay that a guest has booked.",
  key: "booking:{tenantId}:{id}",
  schema: z.looseObject({
    id: segment,
    tenantId: segment,
    guest: z.string(),
    status: z.enum(STATUSES),
    nights: z.int(),
    createdAt: instant,
  }),
  owner: "tenant",
  example: { id: "b1", tenantId: "tn_1", guest: "Guest", status: "held", nights: 1, createdAt: "2026-01-01T00:00:00.000Z" },
});
const after = defineEntity({
  ...before,
  filterable: ["status"],
  sortable: ["nights"],
  searchable: ["guest"],
  indexes: [["status", "nights"]],
  rollup: { groupBy: ["status"], sum: "nights" },
});
/** A small family with writers, and families that are added later. */
const desk = defineEntity({ ...before, name: "desk", summary: "A desk.", key: "desk:{tenantId}:{id}", filterable: ["status"] });
const countedDesk = defineEntity({ ...desk, rollup: { groupBy: ["status"] } });
const voucher = defineEntity({ ...before, name: "voucher", summary: "A voucher.", key: "voucher:{tenantId}:{id}" });
const receipt = defineEntity({ ...before, name: "receipt", summary: "A receipt.", key: "receipt:{tenantId}:{id}" });
const BUILDS = ["index booking_search", "index booking_status_nights", "rollup booking"];

const LOAD = `
  set session_replication_role = replica;
  insert into kv.entries_booking (key, value, version, owner, cascades, created_at, updated_at)
  select 'booking:tn_' || i % ${TENANTS} || ':' || i, jsonb_build_object('id', i::text, 'tenantId', 'tn_' || i % ${TENANTS}, 'guest', 'Guest ' || left(md5(i::text), 12),
    'status', (array['held', 'booked', 'paid', 'cancelled'])[1 + i % 4], 'nights', i % 28, 'createdAt', '2026-01-01T00:00:00.000Z'),
    nextval('kv.versions'), 'tn_' || i % ${TENANTS}, true, now(), now() from generate_series(1, ${ROWS}) i;
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'voucher:tn_' || i % ${TENANTS} || ':' || i, '{}', nextval('kv.versions'), null, true, now(), now() from generate_series(1, ${VOUCHERS}) i;
  reset session_replication_role;
  analyze kv.entries_booking;`;

const random = seededRandom("O19 growth");
let database: TestDatabase;
let admin: pg.Client;
let monitor: pg.Client;
const stores: Store[] = [];
const faults: unknown[] = [];
/** The longest observed lock wait of readers and of writers, with its lock. */
const waits: Record<string, { ms: number; lock: string }> = { reader: { ms: 0, lock: "none" }, writer: { ms: 0, lock: "none" } };
const done = { reader: 0, writer: 0 };
let running = true;
let work: Promise<unknown>;

beforeAll(async () => {
  database = await freshDatabase();
  admin = await connected(database.superUrl);
  monitor = await connected(database.superUrl);
  await withClient(
    database.ownerUrl,
    (client) => client.query(schemaChanges(declaredBy(registry), declaredBy([...registry, before, desk]), new Map())),
  );
  await admin.query(LOAD);
  work = Promise.all([
    ...Array.from({ length: CALLERS }, (_, i) => loop("writer", write, i)),
    ...Array.from({ length: CALLERS }, (_, i) => loop("reader", read, i)),
    watch(),
  ]);
}, 120_000);

afterAll(async () => {
  running = false;
  await work;
  await Promise.all(stores.map((store) => store.close()));
  await Promise.all([admin.end(), monitor.end()]);
  await database.drop();
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** A caller with its own connection, which the monitor identifies by its application_name. */
async function loop(role: "reader" | "writer", call: (store: Store) => Promise<unknown>, i: number): Promise<void> {
  const store = createStore(postgresDriver({ connectionString: `${database.appUrl}?application_name=${role}-${i}`, max: 1 }), {
    clock: systemClock,
  });
  stores.push(store);
  while (running) {
    try {
      await call(store);
      done[role]++;
    } catch (error) {
      faults.push(error);
    }
    await sleep(random.below(60));
  }
}

const randomKey = (bound = ROWS) => {
  const n = 1 + random.below(bound);
  return `booking:tn_${n % TENANTS}:${n}`;
};

async function write(store: Store): Promise<unknown> {
  const key = randomKey(ROWS + 2_000);
  const [, tenantId = "", id = ""] = key.split(":");
  switch (random.below(6)) {
    case 0:
      return await store.del(key);
    case 5:
      return await store.set(`desk:${tenantId}:${random.below(50)}`, { ...desk.example, tenantId, status: random.pick(STATUSES) });
    case 1:
    case 2:
      return await store.increment(key, [{ path: ["nights"], by: 1 }]);
    default:
      return await store.set(key, { ...before.example, id, tenantId, status: random.pick(STATUSES), nights: random.below(28) });
  }
}

async function read(store: Store): Promise<unknown> {
  switch (random.below(4)) {
    case 0:
      return await store.list({ prefix: `booking:tn_${random.below(TENANTS)}:`, limit: 20 });
    case 1:
      return await store.query({ entity: before, scope: `tn_${random.below(TENANTS)}`, limit: 20 });
    case 2:
      return await store.get(`voucher:tn_${random.below(TENANTS)}:${random.below(VOUCHERS)}`);
    default:
      return await store.get(randomKey());
  }
}

async function watch(): Promise<void> {
  while (running) {
    const { rows } = await monitor.query<{ role: string; ms: number; lock: string }>(
      `select split_part(a.application_name, '-', 1) as role, 1000 * extract(epoch from clock_timestamp() - l.waitstart)::float8 as ms,
         concat_ws(' ', l.mode, l.locktype, l.relation::regclass, a.query) as lock
       from pg_locks l join pg_stat_activity a using (pid)
       where not l.granted and l.waitstart is not null and a.datname = current_database() and a.application_name ~ '^(reader|writer)-'`,
    );
    for (const { role, ms, lock } of rows) if (ms > (waits[role]?.ms ?? 0)) waits[role] = { ms, lock };
    await sleep(20);
  }
}

function migrationOf(version: string, from: readonly AnyEntity[], to: readonly AnyEntity[]): Migration {
  const changes = schemaChanges(declaredBy([...registry, ...from]), declaredBy([...registry, ...to]), new Map());
  return { version, name: "toys", sql: `${changes}\n\ninsert into kv.migrations (version, name) values ('${version}', 'toys');\n` };
}

const applied: Migration[] = [];

/** Applies migrations as `npm run migrate` does. */
async function migrateOn(migrations: readonly Migration[]): Promise<void> {
  await withClient(database.ownerUrl, async (client) => {
    expect(await migrate(client, [...await readMigrations(), ...applied, ...migrations])).toEqual(migrations);
  });
  applied.push(...migrations);
}

async function pending(): Promise<string[]> {
  const { rows } = await admin.query<{ what: string }>("select kind || ' ' || name as what from kv.pending()");
  return rows.map(({ what }) => what);
}

/** Whether each pending index exists and is valid. */
async function indexes(): Promise<Record<string, boolean>> {
  const { rows } = await admin.query<{ name: string; valid: boolean }>(
    `select c.relname as name, i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid
     where c.relnamespace = 'kv'::regnamespace and c.relname in ('booking_search', 'booking_status_nights')`,
  );
  return Object.fromEntries(rows.map(({ name, valid }) => [name, valid]));
}

const RECOUNT = `select value->>'status' as status, count(*)::int as count, sum((value->>'nights')::numeric)::text as nights
  from kv.entries where key >= 'booking:' and key < 'booking;' group by 1 order by 1`;
const ROLLUP = `select bucket::jsonb->>0 as status, sum(count)::int as count, trim_scale(sum(total))::text as nights
  from kv.rollup_shards where rollup = 'booking' group by bucket having sum(count) <> 0 order by 1`;

/** Runs the builds on a connection whose backend is terminated when `when` is true. Returns the result of the run. */
async function interruptedBuild(when: (steps: number) => Promise<boolean>): Promise<"ended" | "complete"> {
  const client = await connected(database.ownerUrl);
  const { rows: [backend] } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  let steps = 0;
  let open = true;
  const build = buildPending(client, { onProgress: (_, reached) => void (steps += reached === null ? 0 : 1) })
    .then(() => "complete" as const, () => "ended" as const).finally(() => void (open = false));
  while (open && !await when(steps)) await sleep(5);
  await admin.query("select pg_terminate_backend($1)", [backend?.pid]);
  const outcome = await build;
  await client.end();
  return outcome;
}

describe("a family of 120,000 rows, while 8 writers and 8 readers go on", () => {
  test("O19: a migration that adds an index, a search and a rollup records them as pending", async () => {
    await migrateOn([migrationOf(VERSIONS[0], [before, desk], [after, desk])]);
    expect(await pending()).toEqual(BUILDS);
    expect(await indexes()).toEqual({});
    expect((await admin.query(ROLLUP)).rows).toEqual([]);
  });

  test("O19: the store's ping lists pending builds, and lists and counts are correct meanwhile", async () => {
    const [store] = stores;
    expect(await store?.ping()).toEqual({
      migration: VERSIONS[0],
      pending: BUILDS,
      refusesWrites: null,
      now: expect.any(String) as string,
    });
    const page = await store?.query({
      entity: after,
      where: [{ field: "status", in: ["paid"] }],
      orderBy: [{ field: "nights", direction: "desc" }],
      limit: 5,
    });
    expect(page?.entries.map(({ value }) => value)).toEqual(Array.from({ length: 5 }, () => expect.objectContaining({ status: "paid" })));
    const groups = await store?.aggregate({ entity: after, groupBy: ["status"], sum: "nights" }) ?? [];
    expect(groups.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThan(ROWS * 0.9);
  });

  test("O19: a concurrent build whose backend is terminated leaves an invalid index, which the next run rebuilds", async () => {
    const delay = random.below(200);
    const outcome = await interruptedBuild(async () => {
      const begun = Object.values(await indexes()).includes(false);
      if (begun) await sleep(delay);
      return begun;
    });
    expect(outcome).toBe("ended");
    expect(Object.values(await indexes())).toContain(false);
    expect(await pending()).toEqual(BUILDS);
  });

  test("O19: a rollup whose backend is terminated between steps resumes at its last key; a second concurrent run is refused", async () => {
    const stop = 3 + random.below(5);
    let refused: unknown;
    const outcome = await interruptedBuild(async (steps) => {
      if (refused === undefined) {
        const second = await connected(database.ownerUrl);
        refused = await buildPending(second).then(() => "built", (error: unknown) => error);
        await second.end();
      }
      return steps >= stop;
    });
    expect(refused).toMatchObject({ code: "write_conflict" });
    expect(outcome).toBe("ended");
    expect(await indexes()).toEqual({ booking_search: true, booking_status_nights: true });
    expect(await pending()).toEqual(["rollup booking"]);
    const { rows: [rollup] } = await admin.query<{ filled_to: string }>("select filled_to from kv.rollups where rollup = 'booking'");
    expect(rollup?.filled_to).toMatch(/^booking:tn_/);
    const client = await connected(database.ownerUrl);
    const steps: string[] = [];
    expect(await buildPending(client, { onProgress: (_, reached) => void (reached === null || steps.push(reached)) })).toEqual([
      { kind: "rollup", name: "booking" },
    ]);
    await client.end();
    expect(steps[0]).toMatch(/^booking:tn_/);
    expect((steps[0] ?? "") > (rollup?.filled_to ?? "")).toBe(true);
    expect(await stores[0]?.ping()).toEqual({
      migration: VERSIONS[0],
      pending: [],
      refusesWrites: null,
      now: expect.any(String) as string,
    });
  });

  test("O19: no reader waited for a lock for over 100 ms up to this point", () => {
    expect(waits["reader"]?.ms, waits["reader"]?.lock).toBeLessThan(100);
  });

  test("O19: a migration that adds a family gets its locks while writers run, and moves undeclared rows", async () => {
    await migrateOn([migrationOf(VERSIONS[1], [after, desk], [after, desk, voucher])]);
    const { rows } = await admin.query("select count(*)::int as n from kv.entries_voucher where owner = split_part(key, ':', 2)");
    expect(rows).toEqual([{ n: VOUCHERS }]);
  });

  test("O19: a generated migration that changes one family and adds another gets its locks while writers run", async () => {
    await migrateOn([migrationOf(VERSIONS[2], [after, desk, voucher], [after, countedDesk, voucher, receipt])]);
    expect(await pending()).toEqual([]);
    expect(await stores[0]?.count({ entity: countedDesk })).toBeGreaterThan(0);
  });

  test("K24: the rollup equals a recount, also after the last writer", async () => {
    await admin.query("begin isolation level repeatable read");
    const [live, counted] = [(await admin.query(ROLLUP)).rows, (await admin.query(RECOUNT)).rows];
    await admin.query("commit");
    expect(live).toEqual(counted);
    running = false;
    await work;
    expect((await admin.query(ROLLUP)).rows).toEqual((await admin.query(RECOUNT)).rows);
    const groups = await stores[0]?.aggregate({ entity: after, groupBy: ["status"], sum: "nights" }) ?? [];
    expect(
      groups.map(({ group: [status], count, sum }) => ({ status, count, nights: sum })).sort((a, b) =>
        (a.status ?? "") < (b.status ?? "") ? -1 : 1
      ),
    )
      .toEqual((await admin.query(RECOUNT)).rows);
  });

  test("K17: the list, its page function and the search use the new indexes", async () => {
    const order = [{ field: "nights", direction: "desc" }] as const;
    const filtered = wireSelection({ entity: after, where: [{ field: "status", in: ["paid"] }] }, null);
    expect(await plan("kv.page_sql", wirePage(after, filtered, wireOrder(after, order), { limit: 20 }))).toContain("booking_status_nights");
    const searched = wireSelection({ entity: after, search: "dc912a253d1e" }, null);
    expect(await plan("'select 1 from kv.entries e where ' || kv.where_sql", searched)).toContain("booking_search");
    const found = await stores[0]?.query({ entity: after, where: [{ field: "status", in: ["paid"] }], orderBy: order, limit: 100 });
    const { rows } = await admin.query<{ key: string }>(
      `select key from kv.entries_booking where value->>'status' = 'paid' order by (value->'nights')::numeric desc, key desc limit 100`,
    );
    expect(found?.entries.map(({ key }) => key)).toEqual(rows.map(({ key }) => key));
  });

  test("O19: no call failed, and readers waited only while a new family was attached", () => {
    console.info(`longest waits for a lock: ${JSON.stringify(waits)}; calls: ${JSON.stringify(done)}`);
    expect(faults).toEqual([]);
    expect(done.reader).toBeGreaterThan(100);
    expect(done.writer).toBeGreaterThan(100);
    if (waits["reader"]?.ms) expect(waits["reader"].lock).toMatch(/^AccessShareLock relation kv\.entries_default/);
  });
});

/** The plan of the statement that an expression over the query creates. */
async function plan(sql: string, query: object): Promise<string> {
  const { rows: [statement] } = await admin.query<{ text: string }>(`select ${sql}($1) as text`, [JSON.stringify(query)]);
  await admin.query(`prepare checked (jsonb, timestamptz) as ${statement?.text}`);
  const { rows } = await admin.query(`explain (format json) execute checked ('${JSON.stringify(query)}', now())`);
  await admin.query("deallocate checked");
  return JSON.stringify(rows);
}
