import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mutation } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { ownCluster } from "../support/own-cluster.ts";
import type { OwnCluster } from "../support/own-cluster.ts";
import { seededRandom } from "../support/random.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { auditKey, auditRecord, tenantRecord } from "./contract/samples.ts";

let own: OwnCluster;
let opened: OpenStore;
let admin: pg.Client;

beforeAll(async () => {
  own = await ownCluster();
  opened = await freshStore({ driver: "postgres", database: own.database });
  admin = new pg.Client({ connectionString: own.database.superUrl });
  admin.on("error", () => undefined);
  await admin.connect();
});

afterAll(async () => {
  await admin.end();
  await opened.close();
  await own.cluster.remove();
});

/** A commit with every step: key locks, owners, rollup, chain, and new rows of several families. */
function everyStep(id: string): { readonly keys: string[]; readonly mutations: Mutation[] } {
  const audit = auditKey(id, "killed");
  const mutations: Mutation[] = [
    { op: "set", key: `tenant:${id}`, value: tenantRecord(id) },
    { op: "set", key: `note:a:${id}`, value: 1, tenantId: id },
    { op: "increment", key: `usage:${id}:users:2026-03`, add: [{ path: ["current"], by: 1 }], initial: { value: {} } },
    { op: "set", key: audit, value: auditRecord(audit, { tenantId: id }) },
    { op: "set", key: `note:z:${id}`, value: 1, tenantId: id },
  ];
  return { keys: mutations.map((mutation) => ("key" in mutation ? mutation.key : "")), mutations };
}

const BLOCKERS: readonly (readonly [string, (id: string) => string])[] = [
  ["at the advisory lock of a checked key", (id) => `select pg_advisory_xact_lock(hashtextextended('note:z:${id}', 0))`],
  ["at the owner's row", (id) => `insert into kv.owners (owner) values ('${id}')`],
  ["at the rollup's shard", (id) => `select pg_advisory_xact_lock(hashtext('kv.rollup:tenant'), kv.shard('tenant:${id}'))`],
  ["at the chain's head", (id) => `insert into kv.chains (scope, seq, hash) values ('${id}', 0, repeat('0', 64))`],
  ["at its first new row", (id) =>
    `insert into kv.entries (key, value, version, cascades, created_at, updated_at)
     values ('${auditKey(id, "killed")}', '{}', 0, false, now(), now())`],
  ["at its last new row", (id) =>
    `insert into kv.entries (key, value, version, cascades, created_at, updated_at)
     values ('usage:${id}:users:2026-03', '{}', 0, true, now(), now())`],
];

async function waitingBackend(): Promise<number> {
  for (;;) {
    const { rows } = await admin.query<{ pid: number }>(
      "select pid from pg_stat_activity where usename = 'innkeep_app' and wait_event_type = 'Lock' and state = 'active'",
    );
    if (rows[0]) return rows[0].pid;
    await sleep(5);
  }
}

test.each(BLOCKERS)(
  "K05: a backend terminated while its commit waits %s leaves none of the keys, and the repeated commit succeeds",
  async (name, blocker) => {
    const { store } = opened;
    const id = `tn_${name.replaceAll(/[^a-z]/g, "")}`;
    const { keys, mutations } = everyStep(id);
    const checks = keys.map((key) => ({ key, version: null }));
    const holder = new pg.Client({ connectionString: own.database.superUrl });
    await holder.connect();
    await holder.query("begin");
    await holder.query(blocker(id));
    const commit = codeOf(store.commit(checks, mutations));
    await admin.query("select pg_terminate_backend($1)", [await waitingBackend()]);
    expect(["store_unavailable", "commit_unknown"]).toContain(await commit);
    await holder.query("rollback");
    await holder.end();
    expect(await store.mget(keys)).toEqual(keys.map(() => null));
    const left = await admin.query("select from kv.owners where owner = $1 union all select from kv.chains where scope = $1", [id]);
    expect(left.rowCount).toBe(0);
    expect(await store.commit(checks, mutations)).toMatchObject({ ok: true });
    expect((await store.mget(keys)).every((entry) => entry !== null)).toBe(true);
  },
);

test("K05: backends terminated at random times during commits of 200 keys leave 0 or all 200 keys of each", async () => {
  const random = seededRandom("K05 kills");
  const { store } = opened;
  const keysOf = (commit: number) => Array.from({ length: 200 }, (_, i) => `kill:${commit}:${i}`);
  let running = true;
  const killer = (async () => {
    while (running) {
      await sleep(random.below(60));
      await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'innkeep_app' and state = 'active'");
    }
  })();
  const outcomes: string[] = [];
  for (let commit = 0; commit < 120; commit++) {
    const sets = keysOf(commit).map((key) => ({ op: "set", key, value: { commit } }) as const);
    outcomes.push(await store.commit([], sets).then(() => "ok", (error: { code: string }) => error.code));
  }
  running = false;
  await killer;
  for (const [commit, outcome] of outcomes.entries()) {
    const present = await store.count(`kill:${commit}`);
    if (outcome === "ok") expect(present).toBe(200);
    else if (outcome === "store_unavailable") expect(present).toBe(0);
    else expect([outcome, [0, 200].includes(present)]).toEqual(["commit_unknown", true]);
  }
  console.info(`K05 kills: ${outcomes.filter((outcome) => outcome !== "ok").length} of ${outcomes.length} commits hit`);
  expect(outcomes).toContain("ok");
});

test("K05: after a backend is killed with SIGKILL during a commit, the server recovers and none of the keys exist", async () => {
  const { store } = opened;
  const { keys, mutations } = everyStep("tn_sigkill");
  const holder = new pg.Client({ connectionString: own.database.superUrl });
  holder.on("error", () => undefined);
  await holder.connect();
  await holder.query("begin");
  await holder.query("insert into kv.owners (owner) values ('tn_sigkill')");
  const commit = codeOf(store.commit([], mutations));
  process.kill(await waitingBackend(), "SIGKILL");
  expect(await commit).toBe("commit_unknown");
  await holder.end().catch(() => undefined);
  while (await store.ping().then(() => false, () => true)) await sleep(50);
  expect(await store.mget(keys)).toEqual(keys.map(() => null));
  await withClient(own.database.superUrl, async (client) => {
    expect((await client.query("select from kv.owners where owner = 'tn_sigkill'")).rowCount).toBe(0);
  });
});
