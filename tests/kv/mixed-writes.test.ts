import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Check, Mutation, Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { auditKey, auditRecord, tenantRecord } from "./contract/samples.ts";

const SECONDS = Number(process.env["SECONDS"] ?? 6);
const CLIENTS = 12;
const add = [{ path: ["n"], by: 1 }];

let opened: OpenStore;
let racers: Store[];

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  racers = await opened.racers(CLIENTS);
});
afterAll(() => opened.close());

let made = 0;

function audit(scope: string | null): Mutation {
  const key = auditKey(scope ?? "global", `n${made++}`);
  return { op: "set", key, value: auditRecord(key, scope === null ? {} : { tenantId: scope }), tenantId: scope, cascades: false };
}

/** The versions of each key. The version of a call must be greater than those of calls that completed before it began. */
class Versions {
  readonly faults: string[] = [];
  readonly #newest = new Map<string, bigint>();
  readonly #all = new Set<string>();

  newest(key: string): bigint {
    return this.#newest.get(key) ?? 0n;
  }

  wrote(key: string, version: string, before: bigint): void {
    const [whole = "0", decimals = "0"] = version.split(".");
    const order = BigInt(whole) * 1_000n + BigInt(decimals);
    if (order <= before) this.faults.push(`${key}: ${version} after ${before}`);
    if (this.#all.has(`${key} ${version}`)) this.faults.push(`${key}: ${version} twice`);
    this.#all.add(`${key} ${version}`);
    if (order > this.newest(key)) this.#newest.set(key, order);
  }
}

/** The current tenants. From time to time one is deleted and replaced by another. */
const tenants = ["tn_a0", "tn_b0", "tn_c0"];
const versions = new Versions();

function someKeys(random: Random, tenant: string, count: number): string[] {
  const one = () =>
    random.pick([
      `free:${random.below(8)}`,
      `given:${tenant}:${random.below(6)}`,
      `usage:${tenant}:m${random.below(4)}:2026-03`,
      `subscription:${tenant}`,
      `tenant:${tenant}`,
      `plan:p${random.below(3)}`,
      `idem:x:${random.below(6)}`,
    ]);
  return [...new Set(Array.from({ length: count }, one))];
}

const ownerOf = (key: string, tenant: string) => /^(given|idem)/.test(key) ? { tenantId: tenant } : {};
const valueOf = (key: string) => key.startsWith("tenant:") ? { ...tenantRecord(key.slice(7), { mrr: made++ % 7 }), n: 0 } : { n: 0 };

function someMutation(random: Random, key: string, tenant: string): Mutation {
  return random.pick<Mutation>([
    { op: "set", key, value: valueOf(key), ...ownerOf(key, tenant) },
    { op: "increment", key, add, initial: { value: valueOf(key), ...ownerOf(key, tenant) } },
    { op: "increment", key, add },
    { op: "delete", key },
  ]);
}

async function commit(store: Store, checks: Check[], mutations: Mutation[]): Promise<void> {
  const before = new Map(
    mutations.map((mutation) => ["key" in mutation ? mutation.key : "", versions.newest("key" in mutation ? mutation.key : "")]),
  );
  const result = await store.commit(checks, mutations);
  if (!result.ok) return;
  for (const [key, version] of Object.entries(result.versions)) versions.wrote(key, version, before.get(key) ?? 0n);
  if (new Set(Object.values(result.versions)).size > 1) versions.faults.push("a commit has two versions");
}

type Call = (random: Random, store: Store, tenant: string) => Promise<void>;

const set: Call = async (random, store, tenant) => {
  const [key = ""] = someKeys(random, tenant, 1);
  const before = versions.newest(key);
  versions.wrote(key, await store.set(key, valueOf(key), ownerOf(key, tenant)), before);
};
const count: Call = async (random, store, tenant) => {
  const key = `usage:${tenant}:m${random.below(2)}:2026-03`;
  const before = versions.newest(key);
  const side = random.below(2) ? store.forTenant(tenant) : store;
  const one = () => side.increment(key, add, { initial: { value: { n: 0 } } });
  for (const counted of await Promise.all(Array.from({ length: 1 + random.below(4) }, one))) {
    if (counted) versions.wrote(key, counted.version, before);
  }
};
const many: Call = async (random, store, tenant) => {
  const keys = someKeys(random, tenant, 2 + random.below(10));
  const found = random.below(2) ? await store.mget(keys.slice(0, 2)) : [];
  const checks = found.map((entry, i) => ({ key: keys[i] ?? "", version: entry?.version ?? null }));
  const entries = [audit(tenant), audit(null)].slice(random.below(3));
  await commit(store, checks, [...keys.map((key) => someMutation(random, key, tenant)), ...entries]);
};
const own: Call = async (random, store, tenant) => {
  const keys = someKeys(random, tenant, 2 + random.below(6)).filter((key) => !/^(plan|free)/.test(key));
  await commit(store.forTenant(tenant), [], [...keys.map((key) => someMutation(random, key, tenant)), audit(tenant)]);
};
const deletions: Call = async (random, store, tenant) => {
  const keys = someKeys(random, tenant, 1 + random.below(6));
  await commit(store, [], [...keys.map((key) => ({ op: "delete", key }) as const), ...[audit(null)].slice(random.below(2))]);
};
/** Enough keys that a commit locks their families. */
const large: Call = async (random, store, tenant) => {
  const keys = [...Array.from({ length: 250 }, (_, i) => `given:${tenant}:${i}`), ...someKeys(random, tenant, 8)];
  await commit(store, [], [...new Set(keys)].map((key) => someMutation(random, key, tenant)));
};
const range: Call = async (random, store, tenant) => {
  const prefix = random.pick(["free", `given:${tenant}`, `usage:${tenant}`, "idem", "given"]);
  await commit(store, [], [{ op: "deletePrefix", prefix }, ...[audit(null)].slice(random.below(2))]);
};
const cascade: Call = async (_, store, tenant) => {
  await store.commit([], [{ op: "deleteOwner", tenantId: tenant }, audit(tenant), audit(null)]);
  tenants[tenants.indexOf(tenant)] = `${tenant.slice(0, 4)}${made++}`;
};
const CALLS = [set, set, set, count, count, count, many, many, many, own, own, own, deletions, deletions, large, large, range, range];

/** Contradictions between the tables after all writes have completed. */
const DISAGREEMENTS = `
  select 'rollup' as what where (select coalesce(sum(count), 0) from kv.rollup_shards where rollup = 'tenant')
    <> (select count(*) from kv.entries where key like 'tenant:%')
  union all select 'chain ' || c.scope from kv.chains c
    where c.seq <> (select count(*) from kv.entries e where e.key like 'audit:%' and coalesce(e.owner, '') = c.scope)
  union all select 'left ' || e.key from kv.entries e join kv.owners o using (owner) where o.deleted_at is not null and e.cascades`;

test("K31: concurrent writes of all kinds get versions greater than all before, and none is partly applied", async () => {
  const random = seededRandom("K31 mixed writes");
  const codes = new Set<string>();
  let calls = 0;
  const until = performance.now() + SECONDS * 1_000;
  await Promise.all(racers.map(async (store) => {
    while (performance.now() < until) {
      const call = random.below(60) === 0 ? cascade : random.pick(CALLS);
      const code = await codeOf(call(random, store, random.pick(tenants)));
      codes.add(code.startsWith("no error") ? "" : code);
      calls++;
    }
  }));
  console.info(`${calls} calls`);
  expect([...codes].filter((code) => code !== "").toSorted()).toEqual(["tenant_deleted"]);
  expect(versions.faults).toEqual([]);
  const { rows } = await withClient(opened.database.superUrl, (client) => client.query(DISAGREEMENTS));
  expect(rows).toEqual([]);
  expect(calls).toBeGreaterThan(100);
}, (SECONDS + 60) * 1_000);

test("K31: a prefix deletion that waits for a row does not block audit entries of other commits", async () => {
  const [first, second] = racers as [Store, Store];
  await first.mset([["range:a", 1], ["range:b", 1]]);
  const holder = new pg.Client({ connectionString: opened.database.superUrl });
  await holder.connect();
  await holder.query("begin");
  await holder.query("select from kv.entries where key = 'range:b' for update");
  const waiting = first.commit([], [{ op: "deletePrefix", prefix: "range" }, audit(null)]);
  await sleep(400);
  const start = performance.now();
  const beside = await second.commit([], [{ op: "set", key: "beside:range", value: 1 }, audit(null)]);
  const took = performance.now() - start;
  await holder.query("rollback");
  await holder.end();
  expect(beside).toMatchObject({ ok: true });
  expect(await waiting).toMatchObject({ ok: true, deleted: { range: 2 } });
  // Otherwise it would wait until the row is released, or for 5 s.
  expect(took).toBeLessThan(2_000);
});
