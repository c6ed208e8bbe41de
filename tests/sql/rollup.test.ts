import pg from "pg";
import { expect, test } from "vitest";
import { tenant } from "../../shared/features/tenants/entity.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { Mutation } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { seededRandom } from "../support/random.ts";
import { freshStore } from "../support/store.ts";
import { tenantRecord } from "../kv/contract/samples.ts";

const LIVE = `
  select bucket::jsonb as bucket, sum(count)::int as count, trim_scale(sum(total))::text as total from kv.rollup_shards where rollup = 'tenant'
  group by bucket having sum(count) <> 0 or sum(total) <> 0 order by 1`;
const REBUILT = `
  select jsonb_build_array(value->'status', value->'plan') as bucket, count(*)::int as count, trim_scale(coalesce(sum((value->>'mrr')::numeric), 0))::text as total
  from kv.entries where key >= 'tenant:' and key < 'tenant;' group by 1 order by 1`;

test("K24: after 10,000 random operations a full rebuild equals the live rollup and every index", async () => {
  const random = seededRandom("K24");
  const opened = await freshStore({ driver: "postgres" });
  const stores = [opened.store, opened.another(), opened.another(), opened.another()];
  const mutation = (): Mutation => {
    const id = `tn_${random.below(400)}`;
    const fields: JsonObject = {
      status: random.pick(["trial", "active", "suspended", "cancelled"]),
      plan: random.pick(["Pro", "Basic", "Trial"]),
      mrr: random.below(1_000_000) / 100,
      ...(random.below(3) ? { region: random.pick(["us-east-1", "eu-west-1"]) } : {}),
    };
    switch (random.below(8)) {
      case 0:
        return { op: "delete", key: `tenant:${id}` };
      case 1:
        return { op: "increment", key: `tenant:${id}`, add: [{ path: ["mrr"], by: random.below(100) }], merge: { status: "active" } };
      case 2:
        return { op: "set", key: `note:${random.below(500)}`, value: { n: random.below(10) } };
      default:
        return { op: "set", key: `tenant:${id}`, value: tenantRecord(id, fields) };
    }
  };
  let operations = 0;
  while (operations < 10_000) {
    await Promise.all(stores.map(async (store) => {
      const byKey = new Map(Array.from({ length: 1 + random.below(12) }, mutation).map((m) => ["key" in m ? m.key : "", m]));
      operations += byKey.size;
      await store.commit([], [...byKey.values()]);
    }));
    if (random.below(60) === 0) await opened.store.commit([], [{ op: "deletePrefix", prefix: random.pick(["note", "tenant"]) }]);
  }
  await opened.store.commit([], [{ op: "deleteOwner", tenantId: "tn_7" }]);
  await withClient(opened.database.superUrl, async (client) => {
    expect((await client.query(LIVE)).rows).toEqual((await client.query(REBUILT)).rows);
    await client.query("create extension if not exists amcheck");
    const { rows: indexes } = await client.query<{ name: string }>(
      `select i.indexrelid::regclass::text as name from pg_index i where i.indrelid = 'kv.rollup_shards'::regclass
         or i.indrelid in (select inhrelid from pg_inherits where inhparent = 'kv.entries'::regclass)`,
    );
    expect(indexes.length).toBeGreaterThan(10);
    // Raises an error if the index lacks an entry of the table, or is not in order.
    for (const { name } of indexes) {
      const { rows: [method] } = await client.query<{ amname: string }>(
        "select a.amname from pg_class c join pg_am a on a.oid = c.relam where c.oid = $1::regclass",
        [name],
      );
      if (method?.amname === "btree") await client.query("select bt_index_parent_check($1::regclass, true)", [name]);
    }
  });
  await opened.close();
});

test("K24: a commit that is refused or rolled back does not change the rollup", async () => {
  const opened = await freshStore({ driver: "postgres" });
  const { store } = opened;
  await store.set("tenant:tn_a", tenantRecord("tn_a"));
  await store.commit([{ key: "tenant:tn_a", version: null }], [{ op: "set", key: "tenant:tn_b", value: tenantRecord("tn_b") }]);
  await store.commit([], [{ op: "set", key: "tenant:tn_c", value: tenantRecord("tn_c") }, { op: "set", key: "usage:wrong", value: {} }])
    .catch(() => undefined);
  await withClient(opened.database.superUrl, async (client) => {
    const live = (await client.query(LIVE)).rows;
    expect(live).toEqual((await client.query(REBUILT)).rows);
    expect(live).toEqual([{ bucket: ["active", "Pro"], count: 1, total: "299" }]);
  });
  await opened.close();
});

test("K24: folding while others write loses and doubles nothing, and leaves one row a group", async () => {
  const random = seededRandom("K24 folded");
  const opened = await freshStore({ driver: "postgres" });
  const writers = [opened.store, opened.another(), opened.another(), opened.another()];
  const folders = [opened.another(), opened.another()];
  let writing = true;
  const folding = Promise.all(folders.map(async (store) => {
    while (writing) await store.foldRollups();
  }));
  await Promise.all(writers.map(async (store) => {
    for (let i = 0; i < 150; i++) {
      const id = `tn_${random.below(60)}`;
      const record = { plan: random.pick(["Pro", "Basic"]), status: random.pick(["trial", "active"]), mrr: random.below(1_000) / 100 };
      await (random.below(4) === 0 ? store.del(`tenant:${id}`) : store.set(`tenant:${id}`, tenantRecord(id, record)));
    }
  }));
  writing = false;
  await folding;
  await withClient(opened.database.superUrl, async (client) => {
    expect((await client.query(LIVE)).rows).toEqual((await client.query(REBUILT)).rows);
    await opened.store.commit([], [{ op: "deletePrefix", prefix: "tenant" }, {
      op: "set",
      key: "tenant:tn_a",
      value: tenantRecord("tn_a"),
    }]);
    await opened.store.foldRollups();
    const { rows } = await client.query(
      "select shard, bucket, count::int, trim_scale(total)::text as total from kv.rollup_shards where rollup = 'tenant'",
    );
    expect(rows).toEqual([{ shard: -1, bucket: '["active", "Pro"]', count: 1, total: "299" }]);
  });
  await opened.close();
});

test("K24: folding beside a migration that declares the rollup anew, or beside a cascade, doubles nothing and does not fail", async () => {
  const opened = await freshStore({ driver: "postgres" });
  const { store } = opened;
  for (const id of ["tn_a", "tn_b"]) await store.set(`tenant:${id}`, tenantRecord(id));
  const expected = [{ bucket: ["active", "Pro"], count: 2, total: "598" }];
  const other = new pg.Client({ connectionString: opened.database.superUrl });
  await other.connect();
  await withClient(opened.database.superUrl, async (client) => {
    const waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    const wait = async () => {
      while ((await client.query(waiting)).rowCount === 0);
    };
    await other.query("begin; select kv_fold_rollups()");
    const declared = withClient(
      opened.database.superUrl,
      (migration) => migration.query("select kv.drop_rollup('tenant'); select kv.add_rollup('tenant', '{status, plan}', sum => 'mrr')"),
    );
    await wait();
    await other.query("commit");
    await declared;
    expect((await client.query(LIVE)).rows).toEqual(expected);

    // A cascade has the later lock and wants the earlier one. The fold finds the deadlock first.
    const lock = (rollup: string) => `select pg_advisory_xact_lock(hashtext('kv.rollup:${rollup}'), 0)`;
    await other.query(`begin; set local deadlock_timeout = '30s'; ${lock("tenant")}`);
    const folded = store.foldRollups();
    await wait();
    await other.query(`${lock("alert")}; commit`);
    expect(await folded).toBe(0);

    // Wrong on purpose: it shows where the numbers are from.
    await client.query("update kv.rollup_shards set count = 7 where rollup = 'tenant'");
    const [count, byPlan] = await store.readAll([{ count: { entity: tenant } }, { aggregate: { entity: tenant, groupBy: ["plan"] } }]);
    expect([count, byPlan]).toEqual([7, [{ group: ["Pro"], count: 7, sum: "0" }]]);
  });
  await other.end();
  await opened.close();
});
